"""The live screen.

`state.py` says what follows from a key or an answer, `picture.py` what is seen of a state; both
are pure. `shell.py` runs them on a terminal.
"""
