"""Which tests run which line of the project, and how long each takes.

`python tests/mutants/coverage_map.py` runs the tests once and writes `build/mutants/map.json`.
Pytest loads the same file as a plugin meanwhile.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAP = "build/mutants/map.json"
LEFT_OUT = ("system", "nightly", "gpu", "cluster", "browser")
"""Markers of tests that take too long for hundreds of faults, or run nothing in their process."""


@dataclass
class CoverageMap:
    """Tests by line, as one run of them showed."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By test, without the fixtures that it shares with others."""
    shared: dict[str, dict[str, float]] = field(default_factory=dict)
    """The seconds of these, by test."""
    files: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    """Tests by line, by file; no tests where a line is run at import alone."""
    digests: dict[str, str] = field(default_factory=dict)
    """Of the files as they were."""

    def tests_of(self, path: str, line: int, text: str) -> list[str]:
        """Return the tests that run a line of a file with this text, the quickest first.

        For a line that is run when its file is imported these are tests of the file, or else of
        its folder: which of them imports it first says nothing.
        """
        tree, found = ast.parse(text), self.files.get(path, {})
        around, called = _statement(tree, line), _called(tree)
        tests = found.get(line) or set().union(*(found.get(one, ()) for one in around))
        if line in called and (tests or found.keys().isdisjoint(around)):
            return self._quickest(tests)
        inner = (tests for one, tests in found.items() if one in called)
        beside = (
            tests
            for other, lines in self.files.items()
            if Path(other).parent == Path(path).parent
            for tests in lines.values()
        )
        return self._quickest(set().union(*inner) or set().union(*beside))

    def _quickest(self, tests: Iterable[str]) -> list[str]:
        def alone(test: str) -> float:
            return self.seconds[test] + sum(self.shared[test].values())

        return sorted(tests, key=lambda test: (alone(test), test))

    def write(self, path: Path) -> None:
        """Write it as JSON, with tests by their number."""
        tests = sorted(self.seconds)
        numbers = {test: number for number, test in enumerate(tests)}
        files = {
            name: {line: sorted(numbers[one] for one in found) for line, found in lines.items()}
            for name, lines in self.files.items()
        }
        told = [[test, self.seconds[test], self.shared[test]] for test in tests]
        write_json(path, {"tests": told, "digests": self.digests, "files": files})

    @classmethod
    def read(cls, path: Path) -> CoverageMap:
        """Read what `write` wrote."""
        held = json.loads(path.read_text(encoding="utf-8"))
        tests = [test for test, _, _ in held["tests"]]
        files = {
            name: {int(line): {tests[one] for one in found} for line, found in lines.items()}
            for name, lines in held["files"].items()
        }
        seconds = {test: alone for test, alone, _ in held["tests"]}
        shared = {test: fixtures for test, _, fixtures in held["tests"]}
        return cls(seconds, shared, files, held["digests"])


def _called(tree: ast.Module) -> set[int]:
    """Return the lines run by a call: all others are run once, by whoever imports them first."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in range(node.body[0].lineno, (node.end_lineno or 0) + 1)
    }


def _statement(tree: ast.Module, line: int) -> range:
    """Return the lines of the innermost statement around a line, or of its head."""
    around = range(line, line + 1)
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            inner = getattr(node, "body", None)
            last = inner[0].lineno - 1 if inner else node.end_lineno or node.lineno
            if node.lineno <= line <= last:
                around = range(node.lineno, last + 1)
    return around


def marker(root: Path) -> str:
    """Return pytest's expression for the tests that bear none of `LEFT_OUT`."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    known = settings["tool"]["pytest"]["ini_options"]["markers"]
    names = {line.split(":")[0] for line in known}
    return " and ".join(f"not {name}" for name in LEFT_OUT if name in names)


def digests(root: Path) -> dict[str, str]:
    """Return what changes with the content of a file, for all of the project and of its tests."""
    tops = (root / top for top in ("refkd", "tune", "tests"))
    return {
        file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for top in tops
        for file in sorted(top.rglob("*.py"))
        if file.parent.name != "mutants"
    }


def write_json(path: Path, content: Any, *, indent: int | None = None) -> None:
    """Write a file that is never seen half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content, indent=indent), encoding="utf-8")
    temporary.replace(path)


class Watch:
    """Pytest's plugin: how long each test took, and whose lines a shared fixture runs.

    A fixture of a wider scope is set up for the first of its tests alone; it belongs to all.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._context = ""
        self._properties: list[tuple[str, object]] = []
        self._tests: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._context = f"{item.nodeid}|setup"
        self._properties = item.user_properties
        self._properties.append(("needs", list(getattr(item, "fixturenames", []))))

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        if request.scope == "function":
            return (yield)
        outer, fixture = self._context, f"fixture|{fixturedef.baseid}|{fixturedef.argname}"
        begun = time.monotonic()
        self._switch(fixture)
        try:
            return (yield)
        finally:
            self._switch(outer)
            self._properties.append((fixture, time.monotonic() - begun))

    def _switch(self, context: str) -> None:
        import coverage

        self._context = context
        measured = coverage.Coverage.current()
        if measured is not None:
            measured.switch_context(context)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        held = self._tests.setdefault(report.nodeid, {"seconds": 0.0, "passed": False})
        held["seconds"] += report.duration
        held["passed"] |= report.when == "call" and report.passed
        held["failed"] = held.get("failed", False) or report.failed
        held["properties"] = dict(report.user_properties)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if not hasattr(session.config, "workerinput"):
            write_json(self._out, self._tests)


def pytest_configure(config: pytest.Config) -> None:
    """Watch, where `make_map` asks for it."""
    if "REFKD_MUTANTS_WATCH" in os.environ:
        config.pluginmanager.register(Watch(Path(os.environ["REFKD_MUTANTS_WATCH"])))


def make_map(
    root: Path, out: Path, *, jobs: int, tests: list[str], marked: str = ""
) -> CoverageMap:
    """Run the tests of a checkout under coverage and write which of them run which line."""
    out.parent.mkdir(parents=True, exist_ok=True)
    told, measured = out.with_suffix(".tests.json"), out.with_suffix(".coverage")
    told.unlink(missing_ok=True)
    before = digests(root)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {
        "PYTHONPATH": os.pathsep.join((str(root), str(Path(__file__).parent))),
        "REFKD_MUTANTS_WATCH": str(told),
        "COVERAGE_FILE": str(measured),
        "COVERAGE_CORE": "ctrace",
    }
    command = [
        *(sys.executable, "-m", "pytest", "-p", "coverage_map", "-p", "no:randomly", "-q"),
        *("--cov=refkd", "--cov=tune", "--cov-context=test", "--cov-report="),
        *("-W", "ignore::coverage.exceptions.CoverageWarning", "--hypothesis-seed=0"),
        *("-n", str(jobs), "--dist", "loadfile", "-m", marked or marker(root), *tests),
    ]
    status = subprocess.run(command, cwd=root, env=environment, check=False).returncode
    if status not in (0, 1) or not told.exists():
        raise SystemExit(f"pytest ended with {status}: there is no map of its tests")
    ran = json.loads(told.read_text(encoding="utf-8"))
    good = {name: one for name, one in ran.items() if one["passed"] and not one["failed"]}
    needs = {name: set(one["properties"].pop("needs")) for name, one in good.items()}
    fixtures: dict[str, float] = {}
    for name, alone in (pair for one in good.values() for pair in one["properties"].items()):
        fixtures[name] = max(alone, fixtures.get(name, 0.0))
    users = {fixture: _users(fixture, needs) for fixture in fixtures}
    made = CoverageMap(
        {
            name: round(max(one["seconds"] - sum(one["properties"].values()), 0), 3)
            for name, one in good.items()
        },
        {
            name: {one: round(fixtures[one], 3) for one in users if name in users[one]}
            for name in good
        },
        _lines(root, measured, needs),
        dict(before.items() & digests(root).items()),
    )
    made.write(out)
    failed = sorted(name for name, one in ran.items() if one["failed"])
    print(f"{out}: {len(good)} tests, {len(made.files)} files; left out, failed: {failed}")
    return made


def _users(fixture: str, needs: dict[str, set[str]]) -> set[str]:
    """Return the tests that need a shared fixture, named by its context."""
    _, base, name = fixture.split("|", 2)
    return {test for test, names in needs.items() if name in names and test.startswith(base)}


def _lines(
    root: Path, measured: Path, needs: dict[str, set[str]]
) -> dict[str, dict[int, set[str]]]:
    """Return the tests by line of each file that coverage measured."""
    import coverage

    data = coverage.CoverageData(str(measured))
    data.read()
    whose = {
        context: _users(context, needs)
        if context.startswith("fixture|")
        else {context.rpartition("|")[0]} & needs.keys()
        for context in data.measured_contexts()
    }
    files: dict[str, dict[int, set[str]]] = {}
    for file in data.measured_files():
        files[Path(file).relative_to(root).as_posix()] = {
            line: set().union(*(whose[context] for context in contexts))
            for line, contexts in data.contexts_by_lineno(file).items()
        }
    return files


def main() -> None:
    """Make the map."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tests", nargs="*", help="files or folders of tests; all by default")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--marker", default="", help=f"pytest's -m; by default none of {LEFT_OUT}")
    parser.add_argument("--out", type=Path, help=f"{MAP} of the checkout by default")
    given = parser.parse_args()
    root = given.root.resolve()
    out = (given.out or root / MAP).resolve()
    make_map(root, out, jobs=given.jobs, tests=given.tests, marked=given.marker)


if __name__ == "__main__":
    main()
