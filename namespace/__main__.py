"""`python -m taskferry` does what the `taskferry` command does. All else of the package is in the folders beside."""

from taskferry.cli.entry import main

if __name__ == "__main__":
    main()
