"""One folder for each class."""
