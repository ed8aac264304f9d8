"""Durable jobs of Taskferry beside task queues: each with its own SDK and four worker processes, all with fsync."""
