"""Datasets at an address: one copy on a machine, fetched once and held to its hashes."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from refkd.data import local_copy as module
from refkd.data.dataset import Dataset
from refkd.data.manifest import OPEN_FILES
from refkd.errors import DataError


@pytest.fixture
def place(tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset in a shared folder, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(tiny_dataset.path, tmp_path / "shared")
    return tmp_path / "shared"


def copies(place: Path) -> list[Path]:
    cache = place.parent / "cache" / "refkd" / "datasets"
    return sorted(p for p in cache.iterdir() if p.is_dir()) if cache.is_dir() else []


def test_an_address_gives_the_same_dataset_without_what_is_sealed(
    tiny_dataset: Dataset, place: Path
) -> None:
    dataset = Dataset.open(place.as_uri())
    assert dataset.fingerprint == tiny_dataset.fingerprint
    assert copies(place) == [dataset.path]
    assert dataset.path.name == dataset.fingerprint
    assert not (dataset.path / "sealed").exists()
    dataset.verify()
    ours, theirs = dataset.role("fit").batch([0, 1]), tiny_dataset.role("fit").batch([0, 1])
    assert np.array_equal(ours.features.numpy(), theirs.features.numpy())


def test_processes_that_open_it_together_fetch_it_once(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[tuple[str, ...]] = []
    original = module.fetch

    def counted(uri: str, names: tuple[str, ...], folder: Path) -> None:
        fetched.append(names)
        original(uri, names, folder)

    monkeypatch.setattr(module, "fetch", counted)
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(module.local_copy, [place.as_uri()] * 4))
    assert len(paths) == 1
    assert fetched.count(OPEN_FILES) == 1


def test_a_copy_is_kept_only_if_its_hashes_agree(place: Path) -> None:
    file = place / "features.h5"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"features\.h5: damaged"):
        Dataset.open(place.as_uri())
    assert copies(place) == []


def test_an_address_that_cannot_be_read_is_named(place: Path) -> None:
    absent = (place / "absent").as_uri()
    with pytest.raises(DataError, match=f"{absent}: cannot be read"):
        Dataset.open(absent)
    with pytest.raises(DataError, match="holds a password") as refused:
        Dataset.open("s3://key:hidden-word@bucket/dataset")
    assert "hidden-word" not in str(refused.value)


def test_who_knows_the_fingerprint_needs_the_address_no_more(place: Path) -> None:
    first = Dataset.open(place.as_uri())
    shutil.rmtree(place)
    with pytest.raises(DataError, match="cannot be read"):
        Dataset.open(place.as_uri())
    again = Dataset.open(place.as_uri(), fingerprint=first.fingerprint)
    assert again.path == first.path


def test_what_a_process_that_was_killed_has_left_is_replaced(
    place: Path, tiny_dataset: Dataset
) -> None:
    left = place.parent / "cache/refkd/datasets" / f".fetched-{tiny_dataset.fingerprint}"
    left.mkdir(parents=True)
    (left / "features.h5").write_bytes(b"half")
    Dataset.open(place.as_uri()).verify()
    assert not left.exists()


@pytest.mark.parametrize("query", ["sig=hidden-word", "client_secret=hidden-word&region=eu"])
def test_an_address_holds_no_secret(query: str) -> None:
    with pytest.raises(DataError, match=r"(sig|client_secret) \(known: ") as refused:
        Dataset.open(f"abfs://container@account/path?{query}")
    assert "hidden-word" not in str(refused.value)


def test_another_dataset_at_the_same_address_is_another_copy(
    place: Path, tiny_dataset: Dataset
) -> None:
    from refkd.data.simulate import SimulationConfig, simulate

    first = Dataset.open(place.as_uri()).path
    shutil.rmtree(place)
    simulate(out=place, config=SimulationConfig(videos=60, feature_dim=8, word_dim=6, seed=1))
    second = Dataset.open(place.as_uri()).path
    assert copies(place) == sorted([first, second])
    assert isinstance(fs.FileSystem.from_uri(place.as_uri())[0], fs.LocalFileSystem)
