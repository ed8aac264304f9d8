"""The journal: where jobs are kept, in one SQLite file. It implements the port of `broker/jobs/ports.py`."""
