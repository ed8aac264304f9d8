"""`python -m taskferry.broker` does what `taskferry broker` does."""

from .cli import broker

broker(prog_name="taskferry broker")
