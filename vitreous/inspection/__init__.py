"""What a model looks at, read from its named intermediates; nothing here changes a model or draws a picture."""
