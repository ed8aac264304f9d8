"""The broker's HTTP port: health, metrics and, later, the JSON interface and the live page.

Knows HTTP and how to read the broker's state. Must not change a rule of the core, nor hold state of its own.
"""
