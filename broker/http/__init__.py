"""The broker's HTTP port for operators: health, metrics, workers and requests as JSON, and draining.

Knows HTTP. What it shows it has from the read model; what it changes, `Operations` changes.
"""
