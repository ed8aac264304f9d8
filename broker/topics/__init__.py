"""Topics: who gets which event, what is kept for those that come back, and what is dropped for those that are slow.

Pure: time, the epoch and the ways to subscribers are passed in.
"""
