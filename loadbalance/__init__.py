"""The strategies that pick a worker among those that can take an assignment now: pure algorithms."""
