"""Settings of any program: what one is, what values it may have, and where its value came from.

Knows TOML, the environment and command lines. Must not know what any setting is for: each program declares its own.
"""
