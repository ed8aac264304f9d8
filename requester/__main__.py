"""`python -m taskferry.requester` does what `taskferry request` does."""

from .cli import request

request(prog_name="taskferry request")
