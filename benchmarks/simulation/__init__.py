"""A seeded discrete-event simulation that proves the claims of the load balancing, on the real strategies and core.

One module per experiment. No rule is copied here: `taskferry.loadbalance` and `taskferry.broker.core` decide where a
request goes, and when it is retried or rejected.
"""
