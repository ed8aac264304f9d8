"""What holds for every test: no settings from the developer's own shell, and Hypothesis tuned for two busy cores."""

import os

from hypothesis import HealthCheck, settings

for name in [name for name in os.environ if name.startswith("TASKFERRY_")]:
    del os.environ[name]

# Under coverage and next to other test processes the time of one example says nothing about the code.
settings.register_profile(
    "taskferry", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("taskferry")
