"""`python -m taskferry.broker` does what `taskferry broker` does."""

from .cli import broker

if __name__ == "__main__":
    broker(prog_name="taskferry broker")
