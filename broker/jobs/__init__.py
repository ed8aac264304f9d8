"""Durable jobs: the rules of work that is kept until it has ended. Pure: time, chance, journal and core are passed in."""
