"""The six actors. Each receives, asks the domain, and answers."""
