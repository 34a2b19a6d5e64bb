"""How any actor lives. Nothing here knows what an actor does."""
