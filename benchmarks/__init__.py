"""Benchmarks of Taskferry, run from the checkout: README.md in this folder says how and what they measure."""
