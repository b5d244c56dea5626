"""`python -m tests.storm`: run schedules of faults from a seed on, or one with all its steps.

With --real, kill what really runs: a target in a phase of a command, drawn from a seed.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # where tests find `storm` and `support`


def real(asked: argparse.Namespace) -> int:
    """Return 1 where a rule is broken after a real kill."""
    from storm.real.kill_run import storm
    from storm.real.kill_table import draw, kill_in, shown

    if asked.table:
        print(shown())
        return 0
    seeds = range(asked.first, asked.first + asked.number)
    if asked.seed is not None:
        seeds = range(asked.seed, asked.seed + 1)
    one = asked.phase and asked.target
    kills = (kill_in(asked.phase, asked.target, seed) if one else draw(seed) for seed in seeds)
    return int(bool(storm(kills, partial(print, flush=True))))


def main() -> int:
    """Return 1 where a rule is broken."""
    from storm.many import run, storm
    from storm.schedule import draw

    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one schedule and print its steps")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first of many")
    parser.add_argument("--number", type=int, default=200, help="how many")
    parser.add_argument("--real", action="store_true", help="kill real processes, one a seed")
    parser.add_argument("--phase", help="with --real and --target: in this phase alone")
    parser.add_argument("--target", help="with --real and --phase: this target alone")
    parser.add_argument("--table", action="store_true", help="with --real: show what is killed")
    asked = parser.parse_args()
    if asked.real:
        return real(asked)
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
