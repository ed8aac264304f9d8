"""The way of a request: admission, assignment, second copies, recovery from a lost worker, and its one end."""
