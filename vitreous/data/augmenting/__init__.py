"""What happens to a training image before the model sees it."""
