"""The health of workers: whether one is trusted, suspect, ejected or being probed, and how fast it is."""
