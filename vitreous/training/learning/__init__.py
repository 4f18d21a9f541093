"""What is minimised, and how the weights move."""
