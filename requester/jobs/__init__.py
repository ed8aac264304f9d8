"""Jobs, schedules and inboxes, as requesters and the command line use them."""
