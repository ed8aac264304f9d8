"""Schedules: jobs that are submitted by the clock."""
