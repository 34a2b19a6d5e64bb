"""SQL, and nothing else: what is kept, and how it is written and read."""
