"""The `taskferry` command: one click group over the broker, the worker and the requester.

Knows options, exit codes and what a person sees on a terminal. Must not know the wire or the rules of the core.
"""
