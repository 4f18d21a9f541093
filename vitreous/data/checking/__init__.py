"""What is wrong with the images, found before training."""
