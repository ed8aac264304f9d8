"""Every rule of the broker: workers, queue, deadlines, health and retries, in one synchronous core.

Every call passes the time as `now`, in seconds of a monotonic clock; the core answers through small ports.
"""
