"""Benchmarks of Taskferry, run from the checkout: README.md in this folder says what they measure and how."""
