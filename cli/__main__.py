"""`python -m taskferry.cli` does what the `taskferry` command does. Knows only where that command begins."""

from .main import main

if __name__ == "__main__":
    main()
