"""`python -m tests.storm`: run schedules of faults from a seed on, or one with all its steps."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where tests find `storm` and `support`


def main() -> int:
    """Return 1 where a rule is broken."""
    from storm.many import run, storm
    from storm.schedule import draw

    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one schedule and print its steps")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of many")
    parser.add_argument("--number", type=int, default=200, help="how many")
    asked = parser.parse_args()
    if asked.seed is not None:
        print(draw(asked.seed))
        faults = run(draw(asked.seed), print)
        print("\n".join(faults) or "no rule is broken")
        return int(bool(faults))
    begun = time.monotonic()
    bad = storm(range(asked.first, asked.first + asked.number))
    seconds = time.monotonic() - begun
    print(f"{len(bad)} of {asked.number} schedules break a rule; {seconds:.0f} s")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
