"""A prepared dataset, opened: batches, sealed roles, damaged folders."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refkd.data.batches import evaluation_batches, training_batches
from refkd.data.dataset import Dataset, Pairs
from refkd.data.roles import OPEN_ROLES, SEALED_ROLES
from refkd.data.sealed import open_sealed
from refkd.data.words import CHARACTERS_PER_WORD, tokenize
from refkd.errors import DataError, SealedError
from refkd.files import sha256_file, user_cache


@pytest.fixture
def copy(tiny_dataset: Dataset, tmp_path: Path) -> Path:
    """Return a copy of the tiny dataset to spoil."""
    return Path(shutil.copytree(tiny_dataset.path, tmp_path / "copy"))


def test_a_batch_holds_what_the_role_says(tiny_dataset: Dataset) -> None:
    pairs = tiny_dataset.role("fit")
    batch = pairs.batch(np.array([7, 0, 3]))
    assert batch.pairs.tolist() == [7, 0, 3]
    assert batch.features.dtype == torch.float32
    assert batch.features.shape == (3, int(pairs.clips[[7, 0, 3]].max()), 16)
    assert batch.clips.tolist() == pairs.clips[[7, 0, 3]].tolist()
    assert torch.stack([batch.start, batch.end], 1).tolist() == pairs.spans[[7, 0, 3]].tolist()
    assert not batch.features[~batch.clip_mask].any()
    assert batch.features[batch.clip_mask].any(dim=1).all()
    words, characters = tiny_dataset.words.encode_batch([pairs.queries[i] for i in (7, 0, 3)])
    assert np.array_equal(batch.words, words)
    assert np.array_equal(batch.characters, characters)
    assert batch.characters.shape[2] == CHARACTERS_PER_WORD


@given(data=st.data())
def test_a_pair_is_the_same_in_every_batch(tiny_dataset: Dataset, data: st.DataObject) -> None:
    pairs = tiny_dataset.role("val_id")
    rows = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=9))
    batch = pairs.batch(rows)
    for position, row in enumerate(rows):
        alone = pairs.batch([row])
        clips, words = int(alone.clips[0]), alone.words.shape[1]
        assert torch.equal(batch.features[position, :clips], alone.features[0])
        assert torch.equal(batch.words[position, :words], alone.words[0])
        assert torch.equal(batch.characters[position, :words], alone.characters[0])
        assert words == len(tokenize(pairs.queries[row]))


def test_batches_are_copies_that_may_be_changed(tiny_dataset: Dataset) -> None:
    pairs = tiny_dataset.role("fit")
    before = pairs.batch([0, 1])
    changed = pairs.batch([0, 1])
    for tensor in (changed.features, changed.words, changed.start, changed.clips):
        tensor.add_(1)
    after = pairs.batch([0, 1])
    assert torch.equal(after.features, before.features)
    assert torch.equal(after.words, before.words)
    assert torch.equal(after.start, before.start)
    assert torch.equal(after.clips, before.clips)


def test_pairs_without_features_are_scored_not_read(tiny_dataset: Dataset) -> None:
    known = tiny_dataset.role("fit")
    names = ("role", "pair_ids", "video_ids", "queries", "moments", "duration", "clips", "spans")
    pairs = Pairs(**{name: getattr(known, name) for name in names})
    with pytest.raises(DataError, match="have no features"):
        pairs.batch([0])


@given(size=st.integers(1, 300), pool=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_pair_is_read_once(tiny_dataset: Dataset, size: int, pool: int, seed: int) -> None:
    pairs = tiny_dataset.role("fit")
    for batches in (
        list(training_batches(pairs, batch_size=size, seed=seed, epoch=1, pool=pool)),
        list(evaluation_batches(pairs, batch_size=size)),
    ):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
        short = [len(batch) for batch in batches if len(batch) != size]
        assert short in ([], [len(pairs) % size])
        assert batches[0].dtype == np.int64


@pytest.mark.parametrize("pool", [1, 4])
def test_the_order_is_named_by_seed_and_epoch(tiny_dataset: Dataset, pool: int) -> None:
    pairs = tiny_dataset.role("fit")

    def order(seed: int, epoch: int) -> list[int]:
        batches = training_batches(pairs, batch_size=10, seed=seed, epoch=epoch, pool=pool)
        return [int(i) for batch in batches for i in batch]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_a_pool_cuts_padding_and_still_mixes_what_is_read_together(tiny_dataset: Dataset) -> None:
    pairs = tiny_dataset.role("fit")

    def batches(pool: int, epoch: int) -> list[list[int]]:
        drawn = training_batches(pairs, batch_size=8, seed=0, epoch=epoch, pool=pool)
        return [batch.tolist() for batch in drawn]

    def padded(drawn: list[list[int]]) -> int:
        return sum(int(pairs.clips[rows].max()) * len(rows) for rows in drawn)

    assert padded(batches(8, 0)) < padded(batches(2, 0)) < padded(batches(1, 0))
    longest = [int(pairs.clips[rows].max()) for rows in batches(8, 0)]
    assert longest != sorted(longest)
    mates = [{frozenset(rows) for rows in batches(8, epoch)} for epoch in (0, 1)]
    assert len(mates[0] & mates[1]) < len(mates[0]) / 2


def test_evaluation_reads_videos_of_like_length_together(tiny_dataset: Dataset) -> None:
    pairs = tiny_dataset.role("fit")
    rows = np.concatenate(list(evaluation_batches(pairs, batch_size=8)))
    assert (np.diff(pairs.clips[rows]) >= 0).all()


def test_model_inputs(tiny_dataset: Dataset) -> None:
    inputs = tiny_dataset.model_inputs()
    assert inputs.feature_dim == tiny_dataset.feature_dim == 16
    assert inputs.word_vectors.shape == (len(tiny_dataset.words.tokens), 12)
    assert inputs.characters == tiny_dataset.words.character_count
    words = tiny_dataset.role("fit").batch(range(20)).words
    assert int(words.max()) < len(inputs.word_vectors) + 2


@pytest.mark.parametrize("role", SEALED_ROLES)
def test_test_roles_are_sealed(tiny_dataset: Dataset, role: str) -> None:
    with pytest.raises(SealedError, match=f"the role {role} is sealed"):
        tiny_dataset.role(role)  # type: ignore[arg-type]
    assert len(open_sealed(tiny_dataset.path, role)) > 0  # type: ignore[arg-type]


def test_only_test_roles_are_behind_the_seal(tiny_dataset: Dataset) -> None:
    with pytest.raises(DataError, match="'fit' is not sealed"):
        open_sealed(tiny_dataset.path, "fit")  # type: ignore[arg-type]


def test_without_the_sealed_folder_nothing_changes(copy: Path, tiny_dataset: Dataset) -> None:
    shutil.rmtree(copy / "sealed")
    opened = Dataset.open(copy)
    opened.verify()
    assert opened.fingerprint == tiny_dataset.fingerprint
    assert [len(opened.role(role)) for role in OPEN_ROLES] == [
        len(tiny_dataset.role(role)) for role in OPEN_ROLES
    ]
    with pytest.raises(DataError, match="missing"):
        open_sealed(copy, "test_id")


def test_opening_touches_four_files_and_no_sealed_one(tiny_dataset: Dataset) -> None:
    script = f"""
import sys
from refkd.data.dataset import Dataset
opened = set()
folder = {str(tiny_dataset.path)!r}
def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and folder in str(arguments[0]):
        opened.add(str(arguments[0]).removeprefix(folder).lstrip("/"))
sys.addaudithook(note)
dataset = Dataset.open(folder)
dataset.verify()
for role in ("fit", "val_id", "val_ood"):
    pairs = dataset.role(role)
    pairs.batch(range(len(pairs)))
maps = open("/proc/self/maps").read()
assert folder + "/sealed" not in maps
print(*sorted(opened))
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=300
    )
    assert "manifest.json" in run.stdout
    assert set(run.stdout.split()) <= {
        "manifest.json",
        "moments.parquet",
        "features.h5",
        "words.npz",
    }


def _foreign(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema_version": 99}')


def _half(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:200])


def _edited(folder: Path) -> None:
    path = folder / "manifest.json"
    facts = json.loads(path.read_text())
    facts["roles"]["fit"]["pairs"] += 1
    path.write_text(json.dumps(facts))


def _extra_key(folder: Path) -> None:
    path = folder / "manifest.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, "more": 1}))


def _cut(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "not a prepared dataset"),
        (lambda folder: (folder / "manifest.json").unlink(), "not a prepared dataset"),
        (lambda folder: (folder / "words.npz").unlink(), r"words\.npz: missing"),
        (_foreign, "schema version 99"),
        (_half, r"manifest\.json: damaged"),
        (_edited, "changed since it was written"),
        (_extra_key, r"manifest\.json: damaged"),
        (_cut("features.h5"), r"features\.h5: damaged"),
        (_cut("moments.parquet"), r"moments\.parquet: damaged"),
        (_cut("words.npz"), r"words\.npz: damaged"),
    ],
)
def test_damaged_folders_are_told(
    copy: Path, spoil: Callable[[Path], object], message: str
) -> None:
    spoil(copy)
    with pytest.raises(DataError, match=message) as caught:
        Dataset.open(copy)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


OPEN = ("features.h5", "moments.parquet", "words.npz")


def flip(path: Path, place: float) -> None:
    """Turn one bit of a file over, in place."""
    position = round(place * (path.stat().st_size - 1))
    with path.open("r+b") as handle:
        handle.seek(position)
        (byte,) = handle.read(1)
        handle.seek(position)
        handle.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("name", OPEN)
def test_one_flipped_bit_is_found_on_opening(copy: Path, name: str, place: float) -> None:
    Dataset.open(copy)  # as it was verified before
    flip(copy / name, place)
    for _ in range(2):  # a folder that was found damaged is not noted as verified
        with pytest.raises(DataError, match=rf"{name}: damaged .*content differs"):
            Dataset.open(copy)


@pytest.mark.parametrize("name", ["sealed/features.h5", "sealed/moments.parquet"])
def test_one_flipped_bit_of_a_test_role_is_found_when_it_is_opened(copy: Path, name: str) -> None:
    flip(copy / name, 0.5)
    Dataset.open(copy)
    with pytest.raises(DataError, match="content differs"):
        open_sealed(copy, "test_id")


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names of the files whose content was read for its hash; the cache is empty at first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: list[str] = []

    def noted(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr("refkd.data.manifest.sha256_file", noted)
    return names


def test_a_machine_reads_the_files_again_only_where_one_was_written(
    copy: Path, hashed: list[str]
) -> None:
    Dataset.open(copy)
    assert sorted(hashed) == sorted(OPEN)
    Dataset.open(copy)
    assert len(hashed) == 3
    content = (copy / "words.npz").read_bytes()
    (copy / "words.npz").write_bytes(content)
    Dataset.open(copy)
    assert len(hashed) == 6
    moved = copy.rename(copy.with_name("moved"))
    opened = Dataset.open(moved)
    assert len(hashed) == 9
    opened.verify()
    assert len(hashed) == 12


def test_processes_that_open_it_together_read_the_files_once(
    copy: Path, hashed: list[str]
) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Dataset.open, [copy] * 4))
    assert sorted(hashed) == sorted(OPEN)


def test_a_cache_on_a_file_system_without_locks_is_no_obstacle(
    copy: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    Dataset.open(copy)
    Dataset.open(copy)
    assert sorted(hashed) == sorted(OPEN)


def test_opening_without_verification_reads_no_file_for_its_hash(
    copy: Path, hashed: list[str]
) -> None:
    flip(copy / "features.h5", 0.5)
    opened = Dataset.open(copy, verify=False)
    assert hashed == []
    with pytest.raises(DataError, match=r"features\.h5: damaged"):
        opened.verify()


@pytest.mark.parametrize("note", [b"", b"[1]", b"{half", None])
def test_a_damaged_note_or_a_cache_that_cannot_be_written_costs_time_alone(
    copy: Path, hashed: list[str], note: bytes | None, tmp_path: Path
) -> None:
    verified = tmp_path / "cache" / "refkd" / "verified"
    if note is None:
        (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    else:
        verified.mkdir(parents=True)
        (verified / f"{Dataset.open(copy, verify=False).fingerprint}.json").write_bytes(note)
    Dataset.open(copy)
    Dataset.open(copy)
    assert len(hashed) == (6 if note is None else 3)


def test_a_user_without_a_home_has_a_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"refkd-{os.getuid()}"
    assert user_cache() == folder == user_cache()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(DataError, match="may be written by others; set XDG_CACHE_HOME"):
        user_cache()
