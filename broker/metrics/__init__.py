"""The broker's numbers for Prometheus: read when a scrape comes, so that requests pay only for additions.

Names follow https://prometheus.io/docs/practices/naming/. Labels come from closed or bounded sets: outcomes and codes
from the error registry, commands from those that workers have served (the first COMMANDS_LISTED_COUNT_MAX of them),
workers from those connected. docs/metrics.md lists all families, and a test compares. Reads, and changes nothing.
"""
