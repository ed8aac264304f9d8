"""What the signs of a worker say about it: whether it is trusted, doubted, ejected or on probation, and how fast."""
