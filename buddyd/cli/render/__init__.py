"""What answers look like. A verb's view is data, and no view knows where it is shown.

`view.py` says what a view is made of, `cells.py` writes the values, and one file for each answer
puts them together. `shape.py` filters, sorts and shortens a view; `layout.py` fits it into a width
with the characters of `graphs.py`, and `terminal.py` writes that; `documents.py` makes CSV and
Markdown of it. `exposition.py` tells the answers to Prometheus.
"""
