"""How labelled images lie on disk: one file for each layout that is recognised."""
