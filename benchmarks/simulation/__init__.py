"""A seeded discrete-event simulation that shows what the load balancing promises, on the real strategies and core.

One module per experiment. Nothing here is a copy of a rule: where a request goes, when it is retried or shed, is
decided by `taskferry.loadbalance` and `taskferry.broker.core`.
"""
