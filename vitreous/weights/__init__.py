"""Model files: vitreous's own format, every other one, and the one door through which every weight comes in.

A path goes through `formats` (which tensors are in this file?), `dialects` (which native tensors do they make up?),
`adapt.py` (other classes, sizes, channels) and `load.py` (a module around them). `native.py` is our own format, whose
`golden.py` proves that a loaded model still computes what it did. `convert.py` goes the other way; `hub` has what is
published.
"""
