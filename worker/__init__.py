"""The worker SDK, the runner behind `taskferry worker`, and the built-in commands.

Knows how to serve commands to a broker. Must not know the broker's insides, nor the requester.
"""
