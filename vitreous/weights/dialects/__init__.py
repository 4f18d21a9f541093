"""Whose names and layouts: one file for each ecosystem, ending in its `Dialect`; `dialect.py` says what that is."""
