"""The log of every program: what an event is, two formats for it, and folding of repetitions.

Must not know when an event happens, nor the internals of any program.
"""
