"""The requests that wait for a free slot: whose turn it is, and who has to go when too many wait."""
