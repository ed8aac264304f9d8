"""The life of a request: admission, assignment, hedging, recovery from a lost worker, and its one end."""
