"""A seeded discrete-event simulation that proves what the load balancing promises, on the real strategies and core.

One module an experiment. Nothing here is a copy of a rule: where a request goes, when it is retried or shed is decided
by `taskferry.loadbalance` and `taskferry.broker.core`.
"""
