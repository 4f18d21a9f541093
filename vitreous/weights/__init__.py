"""Model files: vitreous's own format, and the one door through which every weight comes in.

`native.py` writes and reads the format, `golden.py` makes the proof that a loaded model still computes what it did,
`dialect.py` turns anything a person may call a model into a module.
"""
