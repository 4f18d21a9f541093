"""The paper's studies in miniature: what was asked of JFT-300M, asked of a few thousand digits on two CPU cores.

plan.py      what a run is made of, and a list of runs: pure data; what studies share stands in it once
studies.py   what each study trains, and what the paper says of it
images.py    the images it names
work.py      one run, from its plan to its scores; a process of its own that takes one after the other
run.py       all of them, two at a time, resumable; then the page
findings.py  from scores to tables and sentences
"""
