"""What the core counts and times, for whoever reads the metrics."""
