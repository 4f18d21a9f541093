"""Tar files in WebDataset's layout."""
