"""Relays that do the least a broker can do: what a broker costs beyond them is the cost of its rules."""
