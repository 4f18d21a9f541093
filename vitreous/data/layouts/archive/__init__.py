"""Class folders in a zip archive, read in place."""
