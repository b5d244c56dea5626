"""What all tests share: one torch thread, known randomness, a tiny dataset, the real data."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

settings.register_profile("refkd", deadline=None, max_examples=25)
settings.load_profile("refkd")

TINY = SimulationConfig(
    videos=60, queries=2, feature_dim=16, word_dim=12, min_clips=8, max_clips=16
)


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
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Return a simulated dataset: 120 train pairs of at most 16 clips and 16 features."""
    return simulate(out=tmp_path_factory.mktemp("tiny") / "dataset", config=TINY)
