"""`python -m taskferry.requester` does what `taskferry request` does."""

from .cli import request

if __name__ == "__main__":
    request(prog_name="taskferry request")
