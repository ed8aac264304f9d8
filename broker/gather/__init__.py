"""Gathers: one request to many workers, and one answer made of theirs.

A gather is a requester of the core that makes a targeted call to each worker of a set, which was fixed when it began.
"""
