"""Every published feature layout, every way it can be wrong, and the packed store."""

from __future__ import annotations

import multiprocessing
import re
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.published_layouts import rows_of, write_features

from refkd.data.features import checked_rows, open_features, pattern_for
from refkd.data.grid import pool
from refkd.data.joined import join, joined
from refkd.data.store import open_store, pack
from refkd.errors import DataError

LAYOUTS = (
    "npy",
    "npy-4d",
    "npz:features",
    "npz:arr",
    "npz:image_embeddings",
    "hdf5",
    "hdf5:c3d_features",
    "hdf5:c3d_fc6_features",
    "hdf5:features",
    "hdf5:whatever",
    "npz:whatever",
    "h5",
    "h5:features",
    "pt",
    "pt:features",
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("stored", "asked"), [("a", "a"), ("v_a", "a"), ("a", "v_a")])
def test_every_layout_is_read_with_and_without_the_prefix(
    tmp_path: Path, layout: str, stored: str, asked: str
) -> None:
    rows = rows_of("a")
    source = open_features(write_features(tmp_path / "f", layout, {stored: rows}))
    assert asked in source
    assert "b" not in source
    assert np.array_equal(checked_rows(source, asked), rows)
    assert source.layout == re.split(r"[-:]", layout)[0]


@pytest.mark.parametrize("layout", ["npy", "npz:features", "hdf5"])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.array([[1.0, np.nan]]), "row 0, column 1 is nan"),
        (np.array([[1.0], [np.inf]]), "row 1, column 0 is inf"),
        (np.zeros(5), r"the shape \(5,\)"),
        (np.zeros((3, 2, 4)), r"the shape \(3, 2, 4\)"),
        (np.zeros((0, 4)), "has no rows"),
        (np.zeros((3, 4), dtype=np.int64), "holds int64"),
    ],
)
def test_wrong_arrays_stop(
    tmp_path: Path, layout: str, rows: np.ndarray[Any, Any], message: str
) -> None:
    source = open_features(write_features(tmp_path / "f", layout, {"abc": rows}))
    with pytest.raises(DataError, match=message) as caught:
        checked_rows(source, "abc")
    assert "abc" in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("layout", ["npy", "npz:features"])
@pytest.mark.parametrize("kept", [0, 40, -3])
def test_files_that_are_cut_off_stop(tmp_path: Path, layout: str, kept: int) -> None:
    folder = write_features(tmp_path / "f", layout, {"a": rows_of("a")})
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="cannot be read") as caught:
        checked_rows(open_features(folder), "a")
    assert str(path) in str(caught.value)


def claiming(path: Path, rows: int) -> Path:
    """Write a `.npy` file of some bytes whose header claims so many rows."""
    with path.open("wb") as handle:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 1024)}
        np.lib.format.write_array_header_1_0(handle, header)
        handle.write(bytes(64))
    return path


def lies(folder: Path, kind: str) -> None:
    """Write `a` with a few bytes that claim to be hundreds of gigabytes, or unpack to them."""
    folder.mkdir()
    if kind == "npy":
        claiming(folder / "a.npy", rows=1 << 27)
    elif kind == "member":
        made = claiming(folder / "features.npy", rows=1 << 27)
        with zipfile.ZipFile(folder / "a.npz", "w") as archive:
            archive.write(made, made.name)
        made.unlink()
    elif kind == "bomb":
        np.savez_compressed(folder / "a.npz", features=np.zeros((70_000, 1024), np.float32))
    else:
        with h5py.File(folder / "f.h5", "w") as file:
            file.create_dataset("a", shape=(1 << 27, 1024), dtype=np.float32, chunks=(64, 1024))


@pytest.mark.parametrize("kind", ["npy", "member", "bomb", "hdf5"])
def test_a_file_that_lies_about_its_size_stops_before_memory_is_taken(
    tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "f"
    lies(folder, kind)
    source = open_features(folder / "f.h5" if kind == "hdf5" else folder)
    tracemalloc.start()  # which NumPy tells of its arrays
    try:
        with pytest.raises(DataError, match=r"claims .* get (it|the file) again") as caught:
            checked_rows(source, "a")
        assert tracemalloc.get_traced_memory()[1] < 1 << 22
    finally:
        tracemalloc.stop()
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'shape': (1,",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': 5, 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}",
        "(" * 300,
        "",
    ],
)
def test_a_damaged_header_stops(tmp_path: Path, header: str) -> None:
    text = header.encode("latin1") + b"\n"
    (tmp_path / "a.npy").write_bytes(
        b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)
    )
    with pytest.raises(DataError, match=r"a\.npy: "):
        checked_rows(open_features(tmp_path), "a")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_flipped_bits_in_an_archive_stop(tmp_path: Path, method: int) -> None:
    np.save(tmp_path / "features.npy", rows_of("a"))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.write(tmp_path / "features.npy", "features.npy")
    (tmp_path / "features.npy").unlink()
    whole = (tmp_path / "a.npz").read_bytes()
    for position in range(40, len(whole) // 2, 7):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "a.npz").write_bytes(damaged)
        with suppress(DataError):  # a flip in what is not read changes nothing
            checked_rows(open_features(tmp_path), "a")


def test_an_entry_of_groups_within_groups_stops(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_group("a").create_group("c3d_features")
    with pytest.raises(DataError, match="is no array"):
        checked_rows(open_features(tmp_path / "f.h5"), "a")


def test_features_of_real_sparsity_are_no_lie(tmp_path: Path) -> None:
    rows = np.zeros((600, 1024), np.float32)
    rows[:, ::10] = np.arange(600, dtype=np.float32)[:, None] + 1
    np.savez_compressed(tmp_path / "a.npz", features=rows)
    assert np.array_equal(checked_rows(open_features(tmp_path), "a"), rows)


def test_an_hdf5_file_that_is_cut_off_stops(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f", "hdf5", {"a": rows_of("a")})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="not an intact HDF5 file"):
        open_features(path)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"x": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match="pickled"):
        checked_rows(open_features(tmp_path), "a")


@pytest.mark.parametrize("layout", ["npz:one+two", "hdf5:one+two", "h5:one+two", "pt:one+two"])
def test_unknown_keys_name_what_is_there(tmp_path: Path, layout: str) -> None:
    source = open_features(write_features(tmp_path / "f", layout, {"a": rows_of("a")}))
    with pytest.raises(DataError, match=r"holds \['one', 'two'\]; expected one array, or one by"):
        checked_rows(source, "a")
    known = layout.replace("two", "features")
    source = open_features(write_features(tmp_path / "g", known, {"a": rows_of("a")}))
    assert np.array_equal(checked_rows(source, "a"), rows_of("a"))


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"features": [1.0]}, "holds list, no tensor"),
        ({}, r"holds \[\]; expected one array"),
        (Path("x"), "cannot be read .*tensors alone"),
    ],
)
def test_torch_files_of_anything_but_tensors_stop(tmp_path: Path, held: Any, message: str) -> None:
    torch.save(held, tmp_path / "a.pt")
    with pytest.raises(DataError, match=message) as caught:
        checked_rows(open_features(tmp_path), "a")
    assert str(tmp_path / "a.pt") in str(caught.value)
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:-30])
    with pytest.raises(DataError, match="cannot be read"):
        checked_rows(open_features(tmp_path), "a")


def test_bfloat16_is_read(tmp_path: Path) -> None:
    torch.save(torch.ones(3, 2, dtype=torch.bfloat16), tmp_path / "a.pt")
    assert checked_rows(open_features(tmp_path), "a").tolist() == [[1, 1]] * 3


def test_files_in_folders_are_found_by_name_or_path(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        write_features(tmp_path / folder, "npy", {f"of_{folder}": rows_of(folder)})
        write_features(tmp_path / folder / "both", "npy", {"same": rows_of(folder)})
    (tmp_path / "train" / "._of_train.npy").write_bytes(b"what a Mac leaves in archives")
    source = open_features(tmp_path)
    assert np.array_equal(source.read("of_train"), rows_of("train"))
    assert np.array_equal(source.read("train/of_train"), rows_of("train"))
    with pytest.raises(DataError, match=r"test/both/same\.npy: stands beside .*train/both/same"):
        source.read("same")
    named = open_features(tmp_path, "train/both/{vid}")
    with pytest.raises(DataError, match="stands beside"):
        named.read("same")
    assert np.array_equal(open_features(tmp_path, "{vid}/both/same").read("test"), rows_of("test"))


def test_ids_are_matched_by_a_stated_pattern_alone(tmp_path: Path) -> None:
    path = write_features(tmp_path / "f", "npy", {f"{v}.mp4": rows_of(v) for v in "abcd"})
    source = open_features(path)
    assert "a" not in source
    videos = ["a", "b", "c", "d"]
    said = source.missing(videos)
    assert said.startswith(
        "a, b, c, …; there are a.mp4, b.mp4, c.mp4, …; --id-pattern '{vid}.mp4'"
    )
    found = open_features(path, "{vid}.mp4")
    assert all(np.array_equal(found.read(v), rows_of(v)) for v in videos)
    assert "pattern" not in source.missing(["x", "y", "z"])
    with pytest.raises(DataError, match=r"'mp4' lacks {vid}; give one like"):
        open_features(path, "mp4")


@given(
    st.lists(st.text("abc123", min_size=2, max_size=5), min_size=1, unique=True),
    st.sampled_from(["{vid}.mp4", "v_{vid}_rgb", "x/{vid}/y"]),
)
def test_the_pattern_that_finds_all_is_found(videos: list[str], pattern: str) -> None:
    found = pattern_for([pattern.replace("{vid}", video) for video in videos], videos)
    assert found is not None
    names = {pattern.replace("{vid}", video) for video in videos}
    assert sum(found.replace("{vid}", v) in names for v in videos) > len(videos) / 2


def test_sources_are_joined_side_by_side(tmp_path: Path) -> None:
    clip = write_features(tmp_path / "c", "npy", {v: rows_of(v, rows=7) for v in "ab"})
    slow = write_features(
        tmp_path / "s", "hdf5", {f"{v}.mp4": rows_of(v, dim=3, rows=14) for v in "a"}
    )
    opened = {"clip": open_features(clip), "slow": open_features(slow, "{vid}.mp4")}
    source = joined(opened, {"slow"})
    assert joined({"clip": opened["clip"]}, ()) is opened["clip"]
    rows = checked_rows(source, "a")
    assert rows.shape == (14, 7)
    assert np.array_equal(rows[:, :4], np.repeat(rows_of("a", rows=7), 2, axis=0))
    assert np.allclose(np.linalg.norm(rows[:, 4:], axis=1), 1)
    assert "b" not in source
    assert source.missing(["b"]) == "slow lacks b; there are a.mp4"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_joining_keeps_the_mean_over_time_of_each_source(one: int, two: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = {"a": generator.normal(size=(one, 2)), "b": generator.normal(size=(two, 3))}
    both = join(rows, {"b": "none", "a": "none"})
    assert both.shape == (max(one, two), 5)
    longer = "a" if one >= two else "b"
    kept = both[:, 3:] if longer == "a" else both[:, :3]
    assert np.array_equal(kept, rows[longer].astype(np.float32))
    swapped = join(rows, {"a": "none", "b": "none"})
    assert np.array_equal(np.concatenate([swapped[:, 2:], swapped[:, :2]], axis=1), both)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 9))
def test_always_gives_every_video_as_many_clips(rows: int, clips: int, seed: int) -> None:
    features = np.random.default_rng(seed).normal(size=(rows, 2))
    always = pool(features, clips, "always")
    assert always.shape == (clips, 2)
    if rows >= clips:
        assert np.array_equal(always, pool(features, clips))
    else:
        whole = {tuple(row) for row in features.astype(np.float32).tolist()}
        assert {tuple(row) for row in always.tolist()} <= whole


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "no such file or folder"),
        (lambda p: p.mkdir(), "the folder holds none"),
        (
            lambda p: (p.mkdir(), (p / "a.npy").touch(), (p / "b.npz").touch()),
            r"2 kinds \(\.npy, \.npz\)",
        ),
        (lambda p: p.write_text("x"), "unknown kind"),
    ],
)
def test_paths_that_are_no_features_stop(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "f")
    with pytest.raises(DataError, match=message):
        open_features(tmp_path / "f")


def test_differing_widths_stop(tmp_path: Path) -> None:
    features = {"a": rows_of("a"), "b": rows_of("b", dim=5)}
    source = open_features(write_features(tmp_path / "f", "npy", features))
    with pytest.raises(DataError, match=r"b\.npy: has 5 columns, the others 4"):
        pack(source, ["a", "b"], tmp_path / "s.h5", max_clips=8)
    with pytest.raises(DataError, match=r"a\.npy: has 4 columns, the others 7"):
        pack(source, ["a"], tmp_path / "s.h5", max_clips=8, dim=7)


def test_values_too_large_for_the_store_stop(tmp_path: Path) -> None:
    source = open_features(write_features(tmp_path / "f", "npy", {"a": np.full((2, 2), 1e5)}))
    with pytest.raises(DataError, match="largest float16"):
        pack(source, ["a"], tmp_path / "s.h5", max_clips=8)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(1, 12))
def test_the_store_gives_back_what_was_packed(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], max_clips: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    features = {f"v{k}": rows_of(f"v{k}", rows=rows) for k, rows in enumerate(lengths)}
    source = open_features(write_features(folder / "f", "npy", features))
    packed = pack(source, list(features), folder / "s.h5", max_clips=max_clips)
    store = open_store(folder / "s.h5")
    assert len(store.rows) == sum(packed.clips.values())
    for video, rows in features.items():
        first = store.first[video]
        kept = store.rows[first : first + packed.clips[video]]
        assert np.array_equal(kept, pool(rows, max_clips).astype(np.float16))
        assert packed.rows[video] == len(rows)


def test_the_number_of_threads_does_not_change_a_byte(tmp_path: Path) -> None:
    features = {f"v{k:02d}": rows_of(f"v{k:02d}", rows=5 + k) for k in range(30)}
    source = open_features(write_features(tmp_path / "f", "npz:features", features))
    one = pack(source, list(features), tmp_path / "1.h5", max_clips=9, jobs=1)
    many = pack(source, list(features), tmp_path / "5.h5", max_clips=9, jobs=5)
    assert one == many
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "5.h5").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.h5", "5.h5", "f"]


def test_the_rows_are_one_contiguous_piece_of_float16(tmp_path: Path) -> None:
    source = open_features(write_features(tmp_path / "f", "npy", {"a": rows_of("a")}))
    pack(source, ["a"], tmp_path / "s.h5", max_clips=8)
    with h5py.File(tmp_path / "s.h5") as file:
        assert file["rows"].chunks is None
        assert file["rows"].dtype == np.float16


def _private_kilobytes(path: Path, answer: Any) -> None:
    """Read the whole store and answer with what this process then has copied of it.

    A page of the file counts as private as well where nobody else maps it at the moment, but only
    a copy is dirty.
    """

    def private() -> int:
        smaps = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
        return sum(int(n) for n in re.findall(r"Private_Dirty:\s+(\d+) kB", smaps))

    store = open_store(path)
    before = private()
    total = sum(float(store.rows[k, 0]) for k in range(0, len(store.rows), 4))
    answer.put((total, private() - before))


def test_a_store_larger_than_what_is_copied_at_once_is_whole(tmp_path: Path) -> None:
    wide = 1 << 18  # 32 clips fill 16 MiB
    rows = np.arange(70, dtype=np.float16)[:, None].repeat(wide, axis=1)
    source = open_features(write_features(tmp_path / "f", "npy", {"a": rows[:33], "b": rows[33:]}))
    pack(source, ["a", "b"], tmp_path / "s.h5", max_clips=128)
    assert np.array_equal(open_store(tmp_path / "s.h5").rows[:, ::1024], rows[:, ::1024])


@pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's account of shared pages"
)
def test_readers_share_the_mapped_pages(tmp_path: Path) -> None:
    features = {f"v{k}": np.ones((128, 1024), dtype=np.float16) for k in range(64)}
    source = open_features(write_features(tmp_path / "f", "npy", features))
    pack(source, list(features), tmp_path / "s.h5", max_clips=128)
    rows = open_store(tmp_path / "s.h5").rows
    held = float(rows[:, 0].sum())  # this process maps every page first
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    worker = context.Process(target=_private_kilobytes, args=(tmp_path / "s.h5", answer))
    worker.start()
    total, growth = answer.get(timeout=300)
    worker.join()
    assert held == 8192.0
    assert total == 2048.0
    assert growth < 4_096, f"{growth} kB private of a store of 16,384 kB"
    with pytest.raises(ValueError, match="read-only"):
        rows[0, 0] = 1.0
