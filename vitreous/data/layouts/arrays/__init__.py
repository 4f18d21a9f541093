"""Images of one size in one array: NumPy, IDX, CIFAR."""
