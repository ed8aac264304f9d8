"""The parts of `make bench`, each of which measures and shows itself."""
