"""What a client proves its identity with: a token and where a fresh one comes from, and its side of TLS."""
