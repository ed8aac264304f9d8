"""Schedules: jobs that the broker submits by itself, at the times of a cron expression, at intervals, or once."""
