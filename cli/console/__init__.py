"""`taskferry console`: a prompt at which an operator types what would otherwise be one command line each."""
