"""Durable jobs: the rules of work that is kept until it has ended.

Pure: time, random numbers, journal and core are passed in.
"""
