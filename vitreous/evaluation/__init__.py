"""How good a model is: scores on labelled images, and what they must be compared with."""
