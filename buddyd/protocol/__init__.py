"""The wire: messages and framing. Pure bytes and values; it knows no sockets."""
