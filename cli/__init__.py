"""The `taskferry` command: one group over all sub-commands, and those that belong to no other package.

Must not know the wire or the rules of the core.
"""
