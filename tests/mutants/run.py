"""Plant faults in copies of a checkout, one at a time, and see which of them the tests notice.

`python tests/mutants/run.py PATHS...`; the tests of a fault's line come from the map that
`coverage_map.py` makes. The checkout itself is never changed. An interrupted run goes on when it
is called again with the same arguments.

Of the known tools, mutmut rewrites functions into switches, which changes the text of networks by
whose digest the project finds what it has trained, and cosmic-ray runs all tests for each fault.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from copies import ALL_TESTS, Copy, Order, Told, import_libraries, work
from coverage_map import LEFT_OUT, MAP, ROOT, CoverageMap, digests, make_map, write_json
from faults import Fault, faults_of, find_again, plant, sample

OUT = "build/mutants/survivors.json"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
MOST_TESTS = 150
MOST_SECONDS = 30.0
"""Of recorded time. A line's slower tests are left out then, and the result says so."""
NOTICED = ("died", "timeout")
OUTCOMES = (*NOTICED, "survived", "untested", "equivalent", "error")


@dataclass
class Result:
    """A fault and what the tests made of it."""

    fault: Fault
    group: str
    """The path of the command line that it stands for."""
    outcome: str = ""
    """None yet, or one of `OUTCOMES`."""
    by: str = ""
    """The test that failed, or why there is no such test."""
    seconds: float = 0.0
    tests: int = 0
    """How many were chosen."""
    of: int = 0
    """How many run the line."""

    @property
    def told(self) -> str:
        return f"{self.fault.name} | {self.fault.source.strip()}"


def read_results(path: Path) -> list[Result]:
    """Read the results of an earlier run."""
    held = json.loads(path.read_text(encoding="utf-8"))["results"]
    return [Result(**{**one, "fault": Fault(**one["fault"])}) for one in held]


def write_results(path: Path, arguments: dict[str, Any], results: list[Result]) -> None:
    """Write what `read_results` and `settle` read."""
    content = {"arguments": arguments, "results": [asdict(one) for one in results]}
    write_json(path, content, indent=1)


def chosen_tests(runs: list[str], tests: CoverageMap) -> list[str]:
    """Return the first tests within the limits, those of a file together."""
    files: dict[str, list[str]] = defaultdict(list)
    fixtures: dict[str, float] = {}
    spent = 0.0
    for test in runs[:MOST_TESTS]:
        fixtures |= tests.shared[test]
        spent += tests.seconds[test]
        if files and spent + sum(fixtures.values()) > MOST_SECONDS:
            break
        files[test.split("::")[0]].append(test)
    return [test for together in files.values() for test in together]


def judge(told: Told) -> tuple[str, str]:
    """Return the outcome of a fault, and the test or the reason."""
    if told.late:
        return "timeout", f"all tests together, after {ALL_TESTS:.0f} s"
    if told.status == 1 and told.failed:
        return ("timeout" if told.hung else "died"), told.failed[0]
    if told.status in (1, 2) and told.broken:
        return "died", f"import of {told.broken[0]}"
    if told.status == 4 and "while loading conftest" in told.output:
        return "died", "import of a conftest.py"
    if told.killed and told.killed != signal.SIGKILL:
        return "died", f"crash: {signal.Signals(told.killed).name}"
    if told.status == 0:
        return "survived", f"tests that are gone: {told.missing}" if told.missing else ""
    return "error", f"pytest ended with {told.status}, signal {told.killed}: {told.output}"


def check_sound(tests: Iterable[str], seconds: dict[str, float], copies: list[Copy]) -> None:
    """Run the tests without a fault; stop where any fails, is gone or cannot be imported."""
    files: dict[str, list[str]] = defaultdict(list)
    for test in sorted(tests):
        files[test.split("::")[0]].append(test)
    shares: list[list[str]] = [[] for _ in copies]
    for together in files.values():
        min(shares, key=lambda share: sum(seconds[test] for test in share)).extend(together)
    for _, told, _ in work([Order(share, limit=7200) for share in shares if share], copies):
        wrong = [*told.broken, *told.failed, *told.missing]
        if told.status != 0 or wrong:
            listed = "".join(f"\n  {one}" for one in wrong)
            raise SystemExit(
                f"{told.output}\nWithout any fault pytest ends with {told.status}:{listed}\n"
                "Mend these tests, make a new map (--refresh), or name them to --leave-out."
            )


def chosen_faults(root: Path, given: argparse.Namespace) -> list[Result]:
    """Return the faults to plant: a sample, or those of an earlier run found again."""
    if not given.faults:
        drawn = sample(root, given.paths, given.number, given.seed)
        return [Result(fault, path) for path, fault in drawn]
    free: dict[str, list[Fault]] = {}
    results = []
    for old in read_results(given.faults):
        path = old.fault.path
        if path not in free:
            free[path] = faults_of(root, path) if (root / path).is_file() else []
        again = find_again(old.fault, free[path])
        if again:
            free[path].remove(again)
            results.append(Result(again, old.group, by=old.by))
        else:
            print(f"not found again: {old.told}")
    return results


def prepare(root: Path, tests: CoverageMap, results: list[Result], out: set[str]) -> list[Order]:
    """Settle what needs no test; return the tests to run for each of the others."""
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines() if EQUIVALENT.exists() else []
    equivalent = {line.rpartition(" # ")[0].strip() for line in lines}
    orders = []
    for one in results:
        text = (root / one.fault.path).read_text(encoding="utf-8")
        plant(text, one.fault)
        runs = tests.tests_of(one.fault.path, one.fault.line, text)
        runs.sort(key=lambda test: test != one.by)  # the one that noticed it before comes first
        chosen = chosen_tests([test for test in runs if test not in out], tests)
        one.tests, one.of = len(chosen), len(runs)
        if one.fault.told in equivalent:
            one.outcome = "equivalent"
        elif not chosen:
            one.outcome = "untested"
        else:
            orders.append(Order(chosen, one.fault))
    return orders


def summary(results: list[Result]) -> str:
    """Return a table by path, and the faults that nobody noticed."""
    rows = [f"{'path':<32}{'planted':>9}" + "".join(f"{name:>11}" for name in OUTCOMES)]
    for group in [*dict.fromkeys(one.group for one in results), "all"]:
        found = Counter(one.outcome for one in results if group in (one.group, "all"))
        counted = found.total() - found["equivalent"]
        share = 100 * sum(found[one] for one in NOTICED) / max(counted, 1)
        cells = "".join(f"{found[name]:>11}" for name in OUTCOMES)
        rows.append(f"{group:<32}{found.total():>9}{cells}{share:>8.1f} % noticed")
    for name in ("survived", "untested", "equivalent", "error"):
        rows += [f"{name}: {one.told}" for one in results if one.outcome == name]
    return "\n".join(rows)


def worse(old: list[Result], new: list[Result]) -> list[str]:
    """Return the faults that were noticed before and no longer are."""
    before = {one.fault: one.outcome for one in old}
    again = [(one, find_again(one.fault, before)) for one in new if one.outcome not in NOTICED]
    return [f"noticed before: {one.told}" for one, was in again if was and before[was] in NOTICED]


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", help="files and folders, relative to the checkout")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--number", type=int, default=126, help="of faults")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--faults", type=Path, help="plant those of an earlier --out instead")
    parser.add_argument("--jobs", type=int, default=2, help="faults at once")
    parser.add_argument(
        "--tests-of",
        type=Path,
        help=f"a map to use as it is; else {MAP}, made anew where it is outdated",
    )
    parser.add_argument("--refresh", action="store_true", help="make the map anew in any case")
    parser.add_argument("--marker", default="", help=f"for the map; by default none of {LEFT_OUT}")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="TEST", help="by its id")
    parser.add_argument("--out", type=Path, help=f"the results; {OUT} by default")
    parser.add_argument("--fresh", action="store_true", help="forget what --out holds")
    parser.add_argument("--against", type=Path, help="an earlier --out that may not be better")
    given = parser.parse_args()
    if not given.paths and not given.faults:
        parser.error("name files or folders, or an earlier result with --faults")
    return given


def find_tests(root: Path, given: argparse.Namespace, results: list[Result]) -> CoverageMap:
    """Return the map: the one that is named, or that of the checkout as it is now."""
    place = (given.tests_of or root / MAP).resolve()
    now = digests(root)
    usable = place.exists() and not given.refresh
    tests = CoverageMap.read(place) if usable else CoverageMap()
    changed = dict(now.items() ^ tests.digests.items())
    if not usable or (changed and not given.tests_of):
        print(f"making {place}: {len(changed)} files are not as it knows them", flush=True)
        return make_map(root, place, jobs=given.jobs, tests=[], marked=given.marker)
    wrong = sorted(changed.keys() & {one.fault.path for one in results})
    if wrong:
        raise SystemExit(f"{wrong} have changed since {place} was made")
    if changed:
        print(f"{len(changed)} files have changed since {place} was made: new tests are not in it")
    return tests


def settle(out: Path, arguments: dict[str, Any], results: list[Result]) -> None:
    """Take over what an interrupted run with the same arguments has found."""
    if json.loads(out.read_text(encoding="utf-8"))["arguments"] != arguments:
        raise SystemExit(
            f"{out} holds results of other arguments or of another state of the checkout: "
            "name another --out, or write over it with --fresh"
        )
    by_fault = {one.fault: one for one in results}
    for held in read_results(out):
        one = by_fault.get(held.fault)
        if one and not one.outcome and held.outcome in (*NOTICED, "survived"):
            vars(one).update(vars(held))


def main() -> int:
    """Return 1 where faults are no longer noticed, 2 where some could not be judged."""
    given = parse()
    root: Path = given.root.resolve()
    out: Path = (given.out or root / OUT).resolve()
    older = read_results(given.against) if given.against else []
    results = chosen_faults(root, given)
    tests = find_tests(root, given, results)
    state = hashlib.sha256(json.dumps(digests(root)).encode()).hexdigest()
    arguments = {"paths": given.paths, "number": given.number, "seed": given.seed, "state": state}
    arguments |= {"faults": str(given.faults or ""), "leave_out": given.leave_out}
    orders = prepare(root, tests, results, set(given.leave_out))
    if out.exists() and not given.fresh:
        settle(out, arguments, results)
    by_fault = {one.fault: one for one in results}
    orders = [one for one in orders if one.fault and not by_fault[one.fault].outcome]
    folder = Path(tempfile.mkdtemp(prefix="refkd-mutants-"))
    copies = [
        Copy(root, folder / str(number)) for number in range(max(given.jobs, 1) if orders else 0)
    ]
    try:
        if orders:
            import_libraries()
        needed = {test for order in orders for test in order.tests}
        print(f"{len(orders)} faults; first their {len(needed)} tests without any", flush=True)
        check_sound(needed, tests.seconds, copies)
        for order, ended, seconds in work(orders, copies):
            assert order.fault is not None
            one = by_fault[order.fault]
            one.outcome, one.by = judge(ended)
            one.seconds = round(seconds, 1)
            done = sum(bool(each.outcome) for each in results)
            print(
                f"[{done}/{len(results)}] {one.outcome}: {one.told}  "
                f"({one.tests} of {one.of} tests, {seconds:.0f} s) {one.by}",
                flush=True,
            )
            write_results(out, arguments, [one for one in results if one.outcome])
    finally:
        for copy in copies:
            copy.stop()
        shutil.rmtree(folder, ignore_errors=True)
    write_results(out, arguments, results)
    print(summary(results))
    errors = sum(one.outcome == "error" for one in results)
    if errors:
        print(f"ERROR: {errors} faults could not be judged; `by` in {out} says why")
    lost = worse(older, results)
    if given.against:
        print("\n".join(lost) or f"all that was noticed in {given.against} still is")
    return 1 if lost else 2 if errors else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: the same command goes on")
