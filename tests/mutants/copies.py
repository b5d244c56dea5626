"""Copies of the checkout, in which tests run with a fault, each time in a process of their own."""

from __future__ import annotations

import importlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
import pytest
from coverage_map import write_json
from faults import Fault, plant

LIBRARIES = (
    *("numpy", "scipy.optimize", "scipy.stats", "torch", "hypothesis", "pyarrow.parquet", "h5py"),
    *("pandas", "optuna", "pydantic", "sqlalchemy", "safetensors.torch"),
)
"""Imported once; then a process is forked for each fault. Never refkd or tune."""
ONE_TEST = 60
"""Seconds until a test hangs."""
ALL_TESTS = 240.0
"""Seconds until all tests of a fault are ended."""
MEMORY = 8 * 2**30
"""Bytes that a process of the tests may take: a fault may ask for any number."""
MARK = "REFKD_MUTANTS_COPY"
"""Names its copy to every process that the tests start."""
_NOT_THEIRS = ("PYTHONDONTWRITEBYTECODE", "PYTEST_ADDOPTS", "OMP_NUM_THREADS")


@dataclass
class Order:
    """Tests to run in a copy, with a fault or without."""

    tests: list[str]
    fault: Fault | None = None
    limit: float = ALL_TESTS


@dataclass
class Told:
    """What came of an order."""

    status: int | None = None
    """Pytest's; none where its process ended without a word."""
    killed: int = 0
    """The signal that ended the process; 0 where it ended by itself."""
    late: bool = False
    """Whether it was ended for the time it took."""
    failed: list[str] = field(default_factory=list)
    """Tests."""
    hung: bool = False
    """Whether the first of these took too long."""
    broken: list[str] = field(default_factory=list)
    """Files of tests that cannot be imported."""
    missing: list[str] = field(default_factory=list)
    """Chosen tests that are not there."""
    output: str = ""


class Chosen:
    """Pytest's plugin: run the chosen tests alone, in their order, and keep what happens."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._tests = tests
        self.told = Told()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        there = {item.nodeid: item for item in items}
        items[:] = [there[test] for test in self._tests if test in there]
        self.told.missing = [test for test in self._tests if test not in there]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.told.broken.append(report.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            hangs = "from pytest-timeout" in str(report.longrepr)
            self.told.hung |= not self.told.failed and hangs
            self.told.failed.append(report.nodeid)


class Copy:
    """A copy of what git would commit of the checkout; it works on one order at a time."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._root = folder / root.name
        self._temporary, self._answer, self._output = (folder / name for name in "tao")
        self._order = Order([])
        self._begun = 0.0
        self._pid = 0
        self._writes = 0
        files = ("git", "ls-files", "-z", "-co", "--exclude-standard")
        listed = subprocess.run(files, cwd=root, check=True, capture_output=True, text=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (root / name).is_symlink() or (root / name).is_file():
                (self._root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, self._root / name, follow_symlinks=False)
        if (root.parent / "shared").exists():  # published data, which tests look for there
            (folder / "shared").symlink_to(root.parent / "shared")

    def begin(self, order: Order) -> None:
        """Plant the fault and start the tests."""
        self._order, self._begun = order, time.monotonic()
        self._text = self._file.read_text(encoding="utf-8") if order.fault else ""
        if order.fault:
            self._write(plant(self._text, order.fault))
        self._answer.unlink(missing_ok=True)
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._test()
            finally:
                os._exit(0)

    def ended(self) -> tuple[Order, Told, float] | None:
        """Return what came of the order, in how many seconds; none while it runs.

        The fault is taken out again.
        """
        seconds = time.monotonic() - self._begun
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid and seconds < self._order.limit:
            return None
        told = Told(killed=os.WTERMSIG(status), late=not pid)
        self.stop()
        if self._answer.exists():
            told = Told(**json.loads(self._answer.read_text(encoding="utf-8")))
        told.output = self._output.read_text(encoding="utf-8", errors="replace")[-3000:]
        if self._order.fault:
            self._write(self._text)
        shutil.rmtree(self._root / ".hypothesis", ignore_errors=True)
        return self._order, told, seconds

    def stop(self) -> None:
        """End the tests' process and all that it started, in sessions of their own as well."""
        if not self._pid:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == str(self._root):
                    process.kill()
        self._pid = 0

    @property
    def _file(self) -> Path:
        assert self._order.fault is not None
        return self._root / self._order.fault.path

    def _write(self, text: str) -> None:
        """Write the file with a time of its own: by it Python knows bytecode that is outdated."""
        self._writes += 1
        self._file.write_text(text, encoding="utf-8")
        os.utime(self._file, (1e9 + self._writes, 1e9 + self._writes))

    def _test(self) -> None:
        os.setsid()
        os.chdir(self._root)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
            os.dup2(file, stream)
        for name in _NOT_THEIRS:
            os.environ.pop(name, None)
        os.environ.update({"PYTHONPATH": str(self._root), MARK: str(self._root)})
        sys.path[0] = str(self._root)
        sys.dont_write_bytecode = False
        plugin = Chosen(self._order.tests)
        command = [
            *("-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0"),
            *("-W", "ignore::pytest.PytestAssertRewriteWarning", "--timeout", str(ONE_TEST)),
            *("--rootdir", str(self._root), "--basetemp", str(self._temporary)),
            *(("-x",) if self._order.fault else ()),
            *dict.fromkeys(test.split("::")[0] for test in self._order.tests),
        ]
        plugin.told.status = int(pytest.main(command, plugins=[plugin]))
        write_json(self._answer, asdict(plugin.told))


def import_libraries() -> None:
    """Import what the tests need and no fault touches, with threads left to the tests."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in LIBRARIES:
        importlib.import_module(name)


def work(orders: Iterable[Order], copies: list[Copy]) -> Iterator[tuple[Order, Told, float]]:
    """Work the orders off, one in each copy at a time; yield each as it ends, with its seconds."""
    waiting = iter(orders)
    busy: list[Copy] = []
    while True:
        for copy in copies:
            order = None if copy in busy else next(waiting, None)
            if order:
                copy.begin(order)
                busy.append(copy)
        if not busy:
            return
        time.sleep(0.05)
        for copy in list(busy):
            ended = copy.ended()
            if ended:
                busy.remove(copy)
                yield ended
