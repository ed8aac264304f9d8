"""Taskferry compared with its peers: what a request costs each broker, and what a Python user gets end to end."""
