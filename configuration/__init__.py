"""Settings of any program: what a setting is, which values it may have, and where its value came from.

Must not know what a setting is for: each program declares its own.
"""
