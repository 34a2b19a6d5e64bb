"""The socket: who connects, what they may do, and what they are told."""
