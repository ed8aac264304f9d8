"""What the core counts and times, for the metrics."""
