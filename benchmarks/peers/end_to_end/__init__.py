"""The same echo as a Python user would write it with each peer's best-known client, and how that is measured.

Every module named after a peer is one or two complete programs of its user; they run in their own processes, some of
them under an interpreter that has the peer but not Taskferry. So what they share (`closed_loop`, `program`) imports
only the standard library.
"""
