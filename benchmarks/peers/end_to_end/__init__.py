"""The same echo as a Python user would write it with each peer's own best-known client, and how that is measured.

Every module named after a peer is one or two complete programs of its user; they run as separate processes, some of
them under an interpreter that has the peer and nothing of Taskferry. So what they share (`closed_loop`, `program`)
imports only the standard library.
"""
