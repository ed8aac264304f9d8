"""`python -m benchmarks` runs what `make bench` promises: the broker's cost, with the defaults of broker_cost."""

import sys

from .broker_cost import main

sys.exit(main())
