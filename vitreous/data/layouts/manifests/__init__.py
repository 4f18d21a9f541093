"""A table or a list that names images and what they show."""
