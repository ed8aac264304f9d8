"""The same echo as a Python user would write it with each peer's own best-known client, and how that is measured.

Every module named after a peer is a whole program or two of its user; those run in processes of their own, some of them
under an interpreter that has the peer and nothing of Taskferry. So what they share (`closed_loop`, `program`) imports
the standard library alone.
"""
