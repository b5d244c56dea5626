"""Preparing a dataset: bytes, fingerprint, counts, mistakes; on the real files where present."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.published_layouts import (
    WORDS,
    rows_of,
    video_ids,
    write_annotations,
    write_features,
    write_words,
)

from refkd.data import moments
from refkd.data.annotations import read_annotations
from refkd.data.dataset import Dataset
from refkd.data.grid import time_to_index
from refkd.data.layouts import LAYOUTS
from refkd.data.prepare import prepare
from refkd.data.roles import OPEN_ROLES, SEALED_ROLES
from refkd.data.sealed import open_sealed
from refkd.data.simulate import SimulationConfig, simulate
from refkd.data.splits import ACTIVITYNET, CHARADES, Carve, carve
from refkd.errors import DataError
from refkd.files import renamed


@pytest.fixture(autouse=True)
def _tiny_is_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the tiny split files count as the published ones; real files keep their own test."""
    counts = {"train": 48, "val": 8, "test_iid": 8, "test_ood": 8}
    tiny = replace(LAYOUTS["charades-cd"], published=counts)
    monkeypatch.setitem(LAYOUTS, "charades-cd", tiny)


def inputs(folder: Path, layout: str = "npy") -> dict[str, Path]:
    """Write annotations, features and words; return them as `prepare` takes them."""
    annotations = write_annotations(folder / "annotations")
    features = {video: rows_of(video) for video in video_ids(annotations)}
    return {
        "annotations": annotations,
        "features": write_features(folder / "features", layout, features),
        "words": write_words(folder / "words.txt"),
    }


def make(given: dict[str, Any], out: Path, **options: Any) -> Dataset:
    """Prepare without a progress bar."""
    return prepare("charades-cd", **given, out=out, progress=False, **options)


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a dataset."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_every_role_is_written_as_annotated(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    made = make(given, tmp_path / "out")
    assert made.manifest.published_counts
    assert made.manifest.carve is not None
    assert set(made.manifest.roles) == {*OPEN_ROLES, *SEALED_ROLES}
    annotated = read_annotations("charades-cd", given["annotations"])
    expected = {m.pair_id: m for rows in annotated.splits.values() for m in rows}
    roles = [made.role(role) for role in OPEN_ROLES]
    roles += [open_sealed(made.path, role) for role in SEALED_ROLES]
    assert sorted(i for pairs in roles for i in pairs.pair_ids) == sorted(expected)
    for pairs in roles:
        for row, pair in enumerate(pairs.pair_ids):
            moment = expected[pair]
            assert pairs.queries[row] == moment.query
            assert tuple(pairs.moments[row]) == (moment.start, moment.end)
        labels = time_to_index(pairs.moments, pairs.clips, pairs.duration)
        assert np.array_equal(pairs.spans, labels)


def test_val_ood_is_cut_out_of_fit_by_video(tmp_path: Path) -> None:
    made = make(inputs(tmp_path), tmp_path / "out")
    assert made.manifest.carve is not None
    carved = set(made.manifest.carve.videos)
    assert carved == set(made.role("val_ood").video_ids)
    assert carved.isdisjoint(made.role("fit").video_ids)


@pytest.mark.parametrize("layout", ["npz:features", "hdf5", "hdf5:c3d_features"])
def test_the_layout_does_not_change_the_clips(tmp_path: Path, layout: str) -> None:
    one = make(inputs(tmp_path / "npy"), tmp_path / "1")
    two = make(inputs(tmp_path / "other", layout), tmp_path / "2")
    assert one.manifest.features.sha256 == two.manifest.features.sha256
    assert one.fingerprint != two.fingerprint  # the layout is part of the identity


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    one = make(inputs(tmp_path / "a", "hdf5"), tmp_path / "1", jobs=1)
    two = make(inputs(tmp_path / "b", "hdf5"), tmp_path / "2", jobs=3)
    assert one.fingerprint == two.fingerprint
    assert content(tmp_path / "1") == content(tmp_path / "2")


def _nudge_a_feature(given: dict[str, Path]) -> None:
    path = sorted(given["features"].iterdir())[0]
    rows = np.load(path)
    np.save(path, np.nextafter(rows, np.float32(9)))  # lost in float16, told by the fingerprint


def _drop_a_word(given: dict[str, Path]) -> None:
    text = given["words"].read_text(encoding="utf-8")
    given["words"].write_text(text.replace("1.5", "1.6"), encoding="utf-8")


def _move_a_test_moment(given: dict[str, Path]) -> None:
    path = given["annotations"] / "charades_test_ood.json"
    path.write_text(path.read_text(encoding="utf-8").replace("7.0,", "7.1,", 1), encoding="utf-8")


@pytest.mark.parametrize("change", [_nudge_a_feature, _drop_a_word, _move_a_test_moment])
def test_a_changed_input_changes_the_fingerprint(tmp_path: Path, change: Any) -> None:
    given = inputs(tmp_path)
    before = make(given, tmp_path / "1").fingerprint
    change(given)
    assert make(given, tmp_path / "2").fingerprint != before


def test_the_extractor_is_part_of_the_identity(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    one = make(given, tmp_path / "1", extractor="I3D, not fine-tuned")
    two = make(given, tmp_path / "2", extractor="I3D, fine-tuned")
    assert one.fingerprint != two.fingerprint


def two_sources(given: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the inputs with another source beside the first, twice as fast and 3 wide."""
    videos = video_ids(given["annotations"])
    slow = {f"{video}.mp4": rows_of(video, dim=3, rows=26) for video in videos}
    paths = {"clip": given["features"], "slow": write_features(folder, "hdf5", slow)}
    return {**given, "features": paths, "id_patterns": {"slow": "{vid}.mp4"}}


def test_joined_sources_have_an_identity_each(tmp_path: Path) -> None:
    given = two_sources(inputs(tmp_path), tmp_path / "slow")
    made = make(given, tmp_path / "out", unit=["slow"], extractor={"clip": "CLIP ViT-B/32"})
    facts = made.manifest.features
    assert (facts.dim, facts.layout) == (7, "joined")
    assert [(p.name, p.layout, p.dim, p.norm, p.extractor) for p in facts.parts] == [
        ("clip", "npy", 4, "none", "CLIP ViT-B/32"),
        ("slow", "hdf5", 3, "unit", None),
    ]
    clip, slow = facts.parts
    assert slow.rows_per_second == pytest.approx(2 * clip.rows_per_second)
    rows = made.role("fit").batch([0]).features[0].numpy()
    assert rows.shape == (26, 7)
    assert np.allclose(np.linalg.norm(rows[:, 4:], axis=1), 1, atol=1e-3)
    make(given, tmp_path / "again", unit=["slow"], jobs=3, extractor=facts_of(made))
    assert content(tmp_path / "again") == content(tmp_path / "out")
    plain = make(given, tmp_path / "plain", extractor=facts_of(made))
    assert plain.fingerprint != made.fingerprint
    assert [p.sha256 for p in plain.manifest.features.parts] == [clip.sha256, slow.sha256]


def facts_of(made: Dataset) -> dict[str, str]:
    """Return the extractors that a dataset states."""
    return {p.name: p.extractor for p in made.manifest.features.parts if p.extractor}


def test_a_video_that_a_source_lacks_is_named(tmp_path: Path) -> None:
    given = two_sources(inputs(tmp_path), tmp_path / "slow")
    (given["features"]["clip"] / "AIN03.npy").unlink()
    with pytest.raises(DataError, match=r"1 video has no features \(clip lacks AIN03; there are"):
        make(given, tmp_path / "out")
    made = make(given, tmp_path / "out", missing_features="skip")
    assert made.manifest.splits["train"].videos == 23
    given["id_patterns"] = {}
    with pytest.raises(DataError, match=r"slow lacks .* --id-pattern '{vid}\.mp4' finds them"):
        make(given, tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": ["slwo"]}, r"unit of 'slwo': no such source of features; it is clip, slow"),
        ({"extractor": "I3D"}, r"extractor of '': no such source"),
        ({"id_patterns": {"clip": "mp4"}}, r"the id pattern 'mp4' lacks {vid}"),
        ({"max_clips": 1}, r"clips is 1; give 2 to 1,024"),
    ],
)
def test_options_of_sources_that_are_wrong_stop(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given = two_sources(inputs(tmp_path), tmp_path / "slow")
    with pytest.raises(DataError, match=message):
        make({**given, **options}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_how_videos_are_resampled_is_part_of_the_identity(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    plain, few, always = (
        make(given, tmp_path / str(k), **options)
        for k, options in enumerate(
            ({}, {"max_clips": 8}, {"max_clips": 20, "resample": "always"})
        )
    )
    assert len({plain.fingerprint, few.fingerprint, always.fingerprint}) == 3
    lengths = [set(made.role("fit").clips.tolist()) for made in (plain, few, always)]
    assert lengths == [{13}, {8}, {20}]


def test_features_that_say_nothing_of_time_are_counted_or_refused(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    paths = sorted(given["features"].glob("*.npy"))
    for path in paths:
        rows = np.load(path)
        rows[:, 2] = 0.5
        np.save(path, rows)
    np.save(paths[0], np.load(paths[0])[:1])
    np.save(paths[1], np.repeat(np.load(paths[1])[:1], 13, axis=0))
    facts = make(given, tmp_path / "some").manifest.features
    assert facts.constant_videos == [path.stem for path in paths[:2]]
    assert facts.flat_columns == [2]
    assert facts.length_differences == 1
    for path in paths:
        np.save(path, np.load(path)[:1])
    with pytest.raises(DataError, match=r"one row alone, and so it is of 36 of 36 videos \(0 are"):
        make(given, tmp_path / "all")
    assert not (tmp_path / "all").exists()


def test_the_carve_and_the_open_part_do_not_depend_on_test_annotations(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    make(given, tmp_path / "1")
    for split in ("test_iid", "test_ood"):
        path = given["annotations"] / f"charades_{split}.json"
        videos = json.loads(path.read_text(encoding="utf-8"))
        for entry in videos.values():
            entry["timestamps"] = [[0.0, 1.0], [9.0, 11.0]]
            entry["sentences"] = ["person throws an unseen towel", "zebra"]
        path.write_text(json.dumps(videos), encoding="utf-8")
    make(given, tmp_path / "2")
    for name in ("moments.parquet", "features.h5", "words.npz"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_the_vocabulary_is_trains(tmp_path: Path) -> None:
    made = make(inputs(tmp_path), tmp_path / "out")
    assert set(made.words.tokens) == set(WORDS)
    assert made.words.tokens[:2] == ("person", "the")
    assert made.manifest.words.coverage == 1.0


def test_vectors_of_other_words_than_the_queries_stop(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    given["words"].write_text("Tür 1 2 3\nHAUS 4 5 6\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"0 of \d+ words .*'Tür', 'HAUS'"):
        make(given, tmp_path / "out")
    given["words"].write_text("der 1 2 3\nperson 4 5 6\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"1 of \d+ words .*'der', 'person'\)"):
        make(given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_videos_whose_features_are_all_zero_are_named(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    assert make(given, tmp_path / "whole").manifest.features.zero_videos == []
    paths = sorted(given["features"].glob("*.npy"))
    np.save(paths[0], np.zeros_like(np.load(paths[0])))
    made = make(given, tmp_path / "one")
    assert made.manifest.features.zero_videos == [paths[0].stem]
    assert Dataset.open(made.path).fingerprint == made.fingerprint
    for path in paths:
        np.save(path, np.zeros_like(np.load(path)))
    with pytest.raises(DataError, match=r"36 of 36 videos \(36 are 0 alone\)"):
        make(given, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_missing_features_stop_or_are_counted(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    for video in ("AIN00", "AIN01", "VAL00"):
        (given["features"] / f"{video}.npy").unlink()
    with pytest.raises(DataError, match=r"3 videos have no features \(AIN00, AIN01, VAL00"):
        make(given, tmp_path / "out")
    made = make(given, tmp_path / "out", missing_features="skip")
    train = made.manifest.splits["train"]
    assert (train.pairs, train.videos) == (44, 22)
    assert (train.annotated_pairs, train.annotated_videos) == (48, 24)
    whole = carve(read_annotations("charades-cd", given["annotations"]).splits["train"], CHARADES)
    assert made.manifest.carve is not None
    assert made.manifest.carve.videos == sorted(whole)  # carved before the features are asked


def test_a_role_without_any_features_stops(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    for path in given["features"].glob("VAL*.npy"):
        path.unlink()
    with pytest.raises(DataError, match="the role val_id has no pair with features"):
        make(given, tmp_path / "out", missing_features="skip")


def test_repairs_are_listed_beside_their_pair(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    path = given["annotations"] / "charades_val.json"
    path.write_text(path.read_text(encoding="utf-8").replace("3.5", "12.5", 1), encoding="utf-8")
    made = make(given, tmp_path / "out")
    assert made.manifest.repairs["val"] == {"end_after_video": 1}
    rows = pq.read_table(made.path / "moments.parquet").to_pylist()
    (listed,) = [row for row in rows if row["repairs"]]
    assert listed["pair_id"] == "VAL00#0"
    assert listed["repairs"] == [
        {"kind": "end_after_video", "before": [0.5, 12.5], "after": [0.5, 12.0]}
    ]
    val = made.role("val_id")
    assert val.moments[val.pair_ids.index("VAL00#0")].tolist() == [0.5, 12.5]


def test_lengths_that_do_not_fit_the_duration_are_reported(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    np.save(given["features"] / "VAL00.npy", rows_of("VAL00", rows=40))
    facts = make(given, tmp_path / "out").manifest.features
    assert facts.rows_per_second == pytest.approx(13 / 12, abs=1e-5)
    assert facts.length_differences == 1
    assert facts.largest_difference == pytest.approx(40 / (13 / 12) - 12, abs=1e-2)


def test_other_pairs_than_the_published_ones_need_skip(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    path = given["annotations"] / "charades_val.json"
    videos = json.loads(path.read_text(encoding="utf-8"))
    del videos["VAL00"]
    path.write_text(json.dumps(videos), encoding="utf-8")
    with pytest.raises(DataError, match=r"charades_val\.json: 6 pairs, published are 8"):
        make(given, tmp_path / "out")
    made = make(given, tmp_path / "out", missing_features="skip")
    assert not made.manifest.published_counts


KILLED = """
import os, signal, sys
from pathlib import Path
from refkd.files import renamed
with renamed(Path(sys.argv[1])) as folder:
    (folder / "part").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_one_and_nothing_else(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(out)], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (left,) = tmp_path.iterdir()
    with renamed(tmp_path / "another") as other:  # a process that lives makes it
        with renamed(out) as folder:
            assert set(tmp_path.iterdir()) == {folder, other}
        with renamed(tmp_path / "other"):
            assert other.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "other", "another"}
    assert not left.exists()


def test_an_error_leaves_nothing_behind_and_an_old_folder_is_kept(tmp_path: Path) -> None:
    given = inputs(tmp_path)
    (tmp_path / "old").mkdir()
    with pytest.raises(DataError, match="exists; give another folder or remove it first"):
        make(given, tmp_path / "old")
    np.save(given["features"] / "OOD03.npy", np.full((3, 4), np.nan, dtype=np.float32))
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(DataError, match=r"OOD03\.npy: row 0, column 0 is nan"):
        make(given, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_folder_that_somebody_made_meanwhile_is_not_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match="exists"), renamed(out) as folder:  # noqa: PT012
        (folder / "mine").touch()
        out.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [({"jobs": 0}, "jobs is 0"), ({"words": Path("absent.txt")}, r"absent\.txt: no such file")],
)
def test_wrong_arguments_stop(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    given = inputs(tmp_path)
    with pytest.raises(DataError, match=message):
        prepare("charades-cd", **{**given, "out": tmp_path / "out", "progress": False, **options})
    with pytest.raises(DataError, match="unknown layout 'msr-vtt'; give one of charades-cd"):
        prepare("msr-vtt", **given, out=tmp_path / "out")


def test_train_moments_at_one_place_have_no_density(tmp_path: Path) -> None:
    (train,) = (read_annotations("charades-cd", write_annotations(tmp_path)).splits["train"][:1],)
    with pytest.raises(DataError, match="val_ood needs train moments"):
        carve(train, CHARADES)


def test_no_carved_video_has_a_moment_longer_than_allowed(tmp_path: Path) -> None:
    train = read_annotations("charades-cd", write_annotations(tmp_path)).splits["train"]
    free = carve(train, Carve(fraction=0.2))
    assert free
    assert carve(train, Carve(fraction=0.2, longest=0.2)) == frozenset()
    assert carve(train, Carve(fraction=0.2, longest=0.5)) == free


def test_the_subsample_of_the_carve_is_seeded() -> None:
    assert (ACTIVITYNET.fraction, ACTIVITYNET.longest, ACTIVITYNET.subsample) == (0.3, 0.5, 12_000)
    assert (CHARADES.fraction, CHARADES.longest, CHARADES.subsample) == (0.1, None, None)
    rng = np.random.default_rng(1)
    train = [
        moments.Moment(
            pair_id=f"{k}", video_id=f"v{k // 2}", query="x", start=s, end=s + n, duration=20.0
        )
        for k, (s, n) in enumerate(
            zip(rng.uniform(0, 9, 300), rng.uniform(1, 9, 300), strict=True)
        )
    ]
    few = Carve(fraction=0.2, subsample=60)
    assert carve(train, few) == carve(train, few)
    assert carve(train, few) != carve(train, few.model_copy(update={"seed": 1}))


def test_the_carve_of_charades(real_data: Path) -> None:
    train = read_annotations("charades-cd", real_data / "charades_cd").splits["train"]
    carved = carve(train, CHARADES)
    pairs = sum(moment.video_id in carved for moment in train)
    assert (len(carved), pairs) == (258, 580)


def test_the_real_clip_subset(real_data: Path, tmp_path: Path) -> None:
    made = make(
        {
            "annotations": real_data / "charades_cd",
            "features": real_data / "features/charades_clip_vitb32_1fps_fp16.hdf5",
            "words": real_data / "glove/charades_glove840b300d.npz",
        },
        tmp_path / "out",
        missing_features="skip",
        extractor="CLIP ViT-B/32, 1 frame a second",
    )
    splits = {split: count.pairs for split, count in made.manifest.splits.items()}
    assert splits == {"train": 2575, "val": 193, "test_iid": 210, "test_ood": 742}
    val_ood = made.manifest.roles["val_ood"]
    assert (val_ood.annotated_pairs, val_ood.annotated_videos) == (580, 258)
    assert (val_ood.pairs, val_ood.videos) == (107, 47)
    assert made.feature_dim == 512
    assert made.manifest.words.coverage == pytest.approx(0.9986, abs=1e-4)
    shutil.rmtree(made.path)


def test_simulated_features_for_the_real_activitynet_files(
    real_data: Path, tmp_path: Path
) -> None:
    config = SimulationConfig(feature_dim=8, word_dim=8)
    made = simulate(out=tmp_path / "out", config=config, annotations=real_data / "activitynet_cd")
    counts = {role: count.pairs for role, count in made.manifest.roles.items()}
    assert counts == {"val_id": 3521, "test_id": 3443}
    assert made.manifest.words.counted_on == "val"
    assert len(open_sealed(made.path, "test_id")) == 3443
    with pytest.raises(DataError, match="has no role 'fit'"):
        made.role("fit")
