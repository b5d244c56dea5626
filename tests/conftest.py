"""What all tests share: tiers, one torch thread, known randomness, a tiny dataset, real data."""

from __future__ import annotations

import os
import random
import secrets
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from support.shared import begin, end_programs, made_once

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

# The same examples in each run, so that nobody's commit is red by chance; the nightly tier, with
# `--hypothesis-profile nightly`, searches anew and prints how to repeat what it finds.
alike = {"deadline": None, "database": None}
settings.register_profile("steady", derandomize=True, max_examples=25, **alike)
settings.register_profile("nightly", derandomize=False, max_examples=250, print_blob=True, **alike)
settings.load_profile("steady")
LONGEST = {"test_readme.py", "test_finalists_real.py", "test_search.py", "test_chaos_points.py"}
"""Files that would keep one process busy after all others have ended."""
TIERS = {"system", "nightly", "gpu"}
"""Markers of the tests that `make test` leaves out; a test has one of them at most."""

TINY = SimulationConfig(
    videos=60, queries=2, feature_dim=16, word_dim=12, min_clips=8, max_clips=16
)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Refuse a test that no command runs, or two; begin with the longest files."""
    for item in items:  # before `-m` takes some away
        marks = {mark.name for mark in item.iter_markers()}
        if len(marks & TIERS) > 1:
            raise pytest.UsageError(f"{item.nodeid} is of several tiers: {sorted(marks & TIERS)}")
        in_lab = item.path.is_relative_to(ROOT / "tests" / "lab")
        if ("cluster" in marks) != in_lab or (in_lab and not marks & {"system", "nightly"}):
            raise pytest.UsageError(
                f"{item.nodeid}: what is marked cluster lies in tests/lab, and nothing else does; "
                "it is marked system or nightly as well"
            )
    yield
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    """Let the tests share what is made once in this run, Ray's token among it."""
    begin(config)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun by a script, with `&`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Read by Ray as it is imported; worker processes and what they start inherit both.
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


@pytest.hookimpl(trylast=True)  # when the other processes have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the programs that the tests of this run have shared."""
    if not hasattr(session.config, "workerinput"):
        end_programs()


@pytest.fixture(autouse=True)
def _steady() -> Iterator[None]:
    """One torch thread, the default dtype, and the same global randomness for every test."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)
    torch.set_default_dtype(dtype)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data; skip where it is absent (REFKD_TEST_DATA)."""
    path = Path(os.environ.get("REFKD_TEST_DATA", SHARED / "data"))
    if not path.is_dir():
        pytest.skip(f"{path} is absent; set REFKD_TEST_DATA to a folder with the real data")
    return path


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Return the folder of reference outputs; skip where it is absent (REFKD_TEST_FIXTURES)."""
    path = Path(os.environ.get("REFKD_TEST_FIXTURES", SHARED / "fixtures"))
    if not path.is_dir():
        pytest.skip(f"{path} is absent; set REFKD_TEST_FIXTURES to the reference outputs")
    return path


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """A simulated dataset that nobody changes: 120 pairs of at most 16 clips and 16 features."""

    def make(folder: Path) -> None:
        simulate(out=folder / "dataset", config=TINY)

    return Dataset.open(made_once("tiny", make) / "dataset")
