"""`python -m taskferry.cli` does what the `taskferry` command does."""

from .entry import main

if __name__ == "__main__":
    main()
