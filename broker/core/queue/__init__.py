"""The requests that wait for a free slot: which is next, and which are rejected if too many wait."""
