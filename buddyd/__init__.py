"""buddyd: a daemon that tells the people who run AI agents how their agents are doing."""

__version__ = "0.1.0"
