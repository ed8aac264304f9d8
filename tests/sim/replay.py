"""`python -m tests.sim.replay SEED` prints what happened in the run of a seed, and whether it kept the law."""

import sys

from tests.sim.simulation import LawBroken, Simulation


def main() -> int:
    simulation = Simulation(int(sys.argv[1]))
    try:
        simulation.run()
        verdict = "the law was kept"
    except LawBroken as error:
        verdict = str(error)
    sys.stdout.write("\n".join([*simulation.records.trace, verdict, ""]))
    return 0 if verdict == "the law was kept" else 1


if __name__ == "__main__":
    sys.exit(main())
