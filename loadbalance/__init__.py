"""The strategies that pick a worker among those that could take an assignment now.

Knows candidates, weights and loads: pure algorithms. Must not know asyncio, time or the broker.
"""
