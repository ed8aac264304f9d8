"""`python -m tests.sim.replay SEED` prints what happened in the run of a seed, and whether it broke a rule."""

import sys

from tests.sim.simulation import RuleBroken, Simulation


def main() -> int:
    simulation = Simulation(int(sys.argv[1]))
    try:
        simulation.run()
        verdict = "no rule was broken"
    except RuleBroken as error:
        verdict = str(error)
    sys.stdout.write("\n".join([*simulation.records.trace, verdict, ""]))
    return 0 if verdict == "no rule was broken" else 1


if __name__ == "__main__":
    sys.exit(main())
