"""What answers look like. A verb's view is data, and no view knows where it is shown.

`view.py` says what a view is made of, `cells.py` writes the values, one file for each answer puts
them together, and `terminal.py` draws the view with rich: another format is another drawer.
"""
