"""Benchmarks of Taskferry, run from the checkout: README.md beside this says how and what they measure."""
