"""What `buddyctl plot` draws.

`history.py` fetches it, `buckets.py` adds it up, `metrics.py` says what is looked at and how it
looks on a terminal, and `picture.py` makes a file of it.
"""
