"""The contract of every layout of annotations: what is read, what is odd, and what stops."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import h5py
import numpy as np
import pytest
from support.annotation_files import FILES, Pair, path_of, splits_of, world, write_layout
from support.published_layouts import rows_of, write_features, write_words

from refkd.data.annotations import read_annotations
from refkd.data.dataset import Dataset
from refkd.data.durations import read_durations
from refkd.data.layouts import LAYOUTS
from refkd.data.moments import Annotations, Moment
from refkd.data.prepare import prepare
from refkd.errors import DataError

KINDS = tuple(FILES)
LENIENT = tuple(kind for kind in KINDS if not kind.endswith("-cd"))
"""Where duplicates are kept, and a train split is enough."""


def read(kind: str, folder: Path, splits: dict[str, list[Pair]], **options: Any) -> Annotations:
    """Write annotations in a layout, and read them."""
    given = {**write_layout(kind, folder, splits), **options}
    durations = read_durations(given.pop("durations", ()))
    place = given.pop("annotations")
    return read_annotations(kind.split(":")[0], place, durations=durations, **given)


def moments_of(annotations: Annotations) -> list[Moment]:
    return [moment for rows in annotations.splits.values() for moment in rows]


def with_pairs(kind: str, *pairs: Pair) -> dict[str, list[Pair]]:
    """Return the annotations of the layout with some pairs as all of train."""
    return {**world(kind), "train": list(pairs)}


def made(kind: str, folder: Path, out: Path, **options: Any) -> Dataset:
    """Prepare the annotations of a layout with features and words that the test writes."""
    splits = world(kind)
    given = write_layout(kind, folder / "annotations", splits)
    videos = {pair.video for pairs in splits.values() for pair in pairs}
    features = {
        video: np.random.default_rng(len(video) + ord(video[-1])).normal(size=(31, 4)).astype("f")
        for video in sorted(videos)
    }
    return prepare(
        kind.split(":")[0],
        **given,
        features=write_features(folder / "features", "hdf5", features),
        words=write_words(folder / "words.txt"),
        out=out,
        progress=False,
        **{"missing_features": "skip", "carve_fraction": 0.3, **options},
    )


def test_the_command_names_every_layout() -> None:
    from tune.cli.data import Layout

    assert get_args(Layout) == tuple(sorted(LAYOUTS, key=get_args(Layout).index))
    assert {kind.split(":")[0] for kind in KINDS} == set(LAYOUTS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_says_the_same(tmp_path: Path, kind: str) -> None:
    splits = world(kind)
    annotations = read(kind, tmp_path, splits)
    assert set(annotations.splits) == set(splits_of(kind))
    for split, pairs in splits.items():
        moments = annotations.splits[split]  # type: ignore[index]
        assert [(m.video_id, m.query, m.start, m.end, m.duration) for m in moments] == [
            (p.video, p.query, *p.windows[0], p.duration) for p in pairs
        ]
        assert [m.pair_id for m in moments[:2]] == [f"{split}00#0", f"{split}00#1"]
    assert set(annotations.sources) == {path_of(kind, tmp_path, s).name for s in splits}
    assert not any(annotations.repairs(split) for split in annotations.splits)


@pytest.mark.parametrize("kind", KINDS)
def test_videos_come_by_id_and_their_pairs_as_in_the_file(tmp_path: Path, kind: str) -> None:
    pairs = [Pair("b", f"query {k}", [(5.0 * k, 5.0 * k + 5)]) for k in range(3)]
    pairs += [Pair("a", "query", [(0.0, 5.0)])]
    train = read(kind, tmp_path, with_pairs(kind, *pairs)).splits["train"]
    assert [m.pair_id for m in train] == ["a#0", "b#0", "b#1", "b#2"]
    assert [m.query for m in train[1:]] == ["query 0", "query 1", "query 2"]


@pytest.mark.parametrize(
    ("window", "kinds"),
    [
        ((5.0, 10.0), []),
        ((20.0, 35.0), ["end_after_video"]),
        ((30.0, 40.0), ["end_after_video", "start_after_video"]),
        ((15.0, 5.0), ["reversed"]),
        ((10.0, 10.0), ["zero_length"]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_known_dirt_is_kept_and_counted(
    tmp_path: Path, kind: str, window: tuple[float, float], kinds: list[str]
) -> None:
    annotations = read(kind, tmp_path, with_pairs(kind, Pair("a", "he runs", [window])))
    (moment,) = annotations.splits["train"]
    assert moment.windows == (window,)
    assert [repair.kind for repair in moment.repairs] == kinds
    assert annotations.repairs("train") == dict.fromkeys(kinds, 1)
    assert all(max(repair.after) <= 30.0 for repair in moment.repairs)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_that_stands_twice_is_counted_or_stops(tmp_path: Path, kind: str) -> None:
    splits = with_pairs(kind, *[Pair("a", "he runs", [(5.0, 10.0)])] * 2)
    if kind == "charades-cd":
        with pytest.raises(DataError, match="repeats 'he runs' at"):
            read(kind, tmp_path, splits)
        return
    annotations = read(kind, tmp_path, splits)
    assert [m.pair_id for m in annotations.splits["train"]] == ["a#0", "a#1"]
    assert annotations.repairs("train") == {"duplicate": 1}


QUERIES = (
    "Ein Mann öffnet die Tür",
    "男の人がドアを開ける",
    "  He\u00a0runs,  “quoted” – and \u2028 stops.  ",
    "🚪 opens",
    "a ## b",
    'says "hello, you", then\tleaves',
)


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_are_kept_as_they_are_written(tmp_path: Path, kind: str) -> None:
    pairs = [Pair("a", query, [(0.0, 5.0)]) for query in QUERIES]
    train = read(kind, tmp_path, with_pairs(kind, *pairs)).splits["train"]
    assert tuple(m.query for m in train) == QUERIES


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "table:parquet"])
def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path: Path, kind: str) -> None:
    plain = read(kind, tmp_path, world(kind))
    for split in splits_of(kind):
        path = path_of(kind, tmp_path, split)
        text = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text)
    again = read_annotations(
        kind.split(":")[0],
        tmp_path,
        durations=read_durations(sorted(tmp_path.glob("lengths.json"))),
    )
    assert moments_of(again) == moments_of(plain)


@pytest.mark.parametrize("kind", LENIENT)
def test_train_alone_is_enough(tmp_path: Path, kind: str) -> None:
    splits = {"train": world(kind)["train"]}
    assert set(read(kind, tmp_path, splits).splits) == {"train"}
    path = path_of(kind, tmp_path, "train")
    alone = read_annotations(
        kind.split(":")[0], path, durations=lambda video: 30.0 if kind == "charades-sta" else None
    )
    assert len(alone.splits["train"]) == 40


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_twice_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    one, two = (made(kind, tmp_path / name, tmp_path / f"out-{name}") for name in "ab")
    assert one.fingerprint == two.fingerprint
    for path in (path for path in one.path.rglob("*") if path.is_file()):
        assert path.read_bytes() == (two.path / path.relative_to(one.path)).read_bytes()
    manifest = one.manifest
    assert manifest.name == kind.split(":")[0]
    assert manifest.layout is None
    assert {"fit", "val_id", "val_ood"} < set(manifest.roles)
    assert ("test_ood" in manifest.roles) == ("test_ood" in splits_of(kind))
    assert (manifest.holdout is None) == ("val" in splits_of(kind))
    videos = [set(one.role(role).video_ids) for role in ("fit", "val_id", "val_ood")]
    assert len(set.union(*videos)) == sum(map(len, videos))


def test_a_validation_split_is_drawn_by_video_and_seed(tmp_path: Path) -> None:
    first = made("charades-sta", tmp_path / "a", tmp_path / "1", val_fraction=0.25)
    other = made("charades-sta", tmp_path / "b", tmp_path / "2", val_fraction=0.25, seed=1)
    held = first.manifest.holdout
    assert held is not None
    assert other.manifest.holdout is not None
    assert (held.fraction, held.seed, len(held.videos)) == (0.25, 0, 5)
    assert set(first.role("val_id").video_ids) == set(held.videos)
    assert held.videos != other.manifest.holdout.videos
    assert first.manifest.splits["train"].videos == 15


def test_own_data_has_a_name_of_its_own(tmp_path: Path) -> None:
    mine = made("table:csv", tmp_path, tmp_path / "out", name="mine")
    assert (mine.name, mine.manifest.layout) == ("mine", "table")
    assert not mine.manifest.published_counts


def test_test_sets_may_share_videos(tmp_path: Path) -> None:
    splits = world("charades-cg")
    splits["test_ood"] = [p._replace(query="the door opens") for p in splits["test_iid"]]
    annotations = read("charades-cg", tmp_path, splits)
    ids = Counter(moment.pair_id for moment in moments_of(annotations))
    assert max(ids.values()) == 1
    assert annotations.shared_videos() == {
        ("test_iid", "test_ood"): ["test_iid00", "test_iid01", "test_iid02", "test_iid03"]
    }


def test_the_two_validation_files_of_activitynet_share_their_videos(tmp_path: Path) -> None:
    splits = world("activitynet-captions")
    splits["test_iid"] = splits["val"]
    annotations = read("activitynet-captions", tmp_path, splits)
    assert list(annotations.shared_videos()) == [("val", "test_iid")]


@pytest.mark.parametrize("kind", LENIENT)
def test_train_and_test_never_share_a_video(tmp_path: Path, kind: str) -> None:
    splits = world(kind)
    splits["test_iid"] = splits["train"][:1]
    with pytest.raises(
        DataError, match=r"video train00 also stands in .*train.*; splits must not"
    ):
        read(kind, tmp_path, splits)


def test_tacos_counts_frames(tmp_path: Path) -> None:
    entry = {"fps": 29.4, "num_frames": 294, "timestamps": [[0, 147]], "sentences": ["He cuts."]}
    (tmp_path / "train.json").write_text(json.dumps({"s13-d21.avi": entry}))
    (moment,) = read_annotations("tacos", tmp_path).splits["train"]
    assert (moment.video_id, moment.start, moment.end) == ("s13-d21", 0.0, 5.0)
    assert moment.duration == pytest.approx(10.0)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".tsv"])
def test_lengths_of_videos_come_from_a_list(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Charades_v1_train{suffix}"
    if suffix == ".json":
        path.write_text('{"AO8RW": 33.67}')
    else:
        rows = [["id", "subject", "length"], ["AO8RW", "HR43", "33.67"]]
        mark = "," if suffix == ".csv" else "\t"
        path.write_text("\ufeff" + "".join(mark.join(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "charades_sta_train.txt").write_text(
        "AO8RW 0.0 6.9##a person is putting a book on a shelf.\n"
    )
    annotations = read_annotations("charades-sta", tmp_path, durations=read_durations([path]))
    (moment,) = annotations.splits["train"]
    assert (moment.duration, moment.end) == (33.67, 6.9)


def test_lengths_of_videos_come_from_their_features(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    splits = world("charades-sta")
    write_layout("charades-sta", tmp_path / "annotations", splits)
    videos = {pair.video for pairs in splits.values() for pair in pairs}
    features = {video: rows_of(video, rows=60) for video in videos}
    made = prepare(
        "charades-sta",
        annotations=tmp_path / "annotations",
        features=write_features(tmp_path / "features", "npy", features),
        words=write_words(tmp_path / "words.txt"),
        rows_per_second=2.0,
        carve_fraction=0.3,
        out=tmp_path / "out",
        progress=False,
    )
    assert set(made.role("fit").duration) == {30.0}


def test_columns_are_named_and_one_file_holds_several_splits(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(
        "clip,text,t0,t1,length,fold\n"
        "007,opens,1,2,30,training\n008,opens,1,2,30,Valid\n"
        "009,opens,1,2,30,test\n010,opens,1,2,30,test_ood\n011,opens,1,2,30,\n"
    )
    columns = {"video": "clip", "query": "text", "start": "t0", "end": "t1"}
    columns |= {"duration": "length", "split": "fold"}
    found = read_annotations("table", tmp_path / "mine.csv", columns=columns)
    videos = {split: [m.video_id for m in rows] for split, rows in found.splits.items()}
    assert videos == {
        "train": ["007", "011"],
        "val": ["008"],
        "test_iid": ["009"],
        "test_ood": ["010"],
    }


def test_files_of_any_name_are_given_by_split(tmp_path: Path) -> None:
    write_layout("charades-cg", tmp_path, world("charades-cg"))
    word = (tmp_path / "novel_composition.json").rename(tmp_path / "novel_word.json")
    assert set(read_annotations("charades-cg", tmp_path).splits) == {"train", "test_iid"}
    found = read_annotations("charades-cg", tmp_path, files={"test_ood": word})
    assert set(found.splits) == {"train", "test_iid", "test_ood"}
    assert "novel_word.json" in found.sources


def test_a_test_file_without_moments_is_left_out_and_counted(tmp_path: Path) -> None:
    write_layout("qvhighlights", tmp_path, world("qvhighlights"))
    path = path_of("qvhighlights", tmp_path, "test_iid")
    line = {"qid": 1, "query": "A dog.", "duration": 150, "vid": "x_0.0_150.0"}
    path.write_text(f"{json.dumps(line)}\n" * 3)
    found = read_annotations("qvhighlights", tmp_path)
    assert set(found.splits) == {"train", "val"}
    assert found.unlabelled == {"highlight_test_iid_release.jsonl": 3}


def as_json_lines(source: Path, path: Path, *, names: bool) -> None:
    """Write a split file of Charades-CD in the form of Moment-DETR."""
    rows = []
    for video, entry in json.loads(source.read_text(encoding="utf-8")).items():
        for span, query in zip(entry["timestamps"], entry["sentences"], strict=True):
            row = {"query": query, "duration": entry["video_duration"], "vid": video}
            row["relevant_windows"] = [span]
            rows.append({"qid": len(rows), **row} if names else row)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("names", [False, True])
def test_the_real_charades_cd_says_the_same_as_json_lines(
    real_data: Path, tmp_path: Path, names: bool
) -> None:
    for split in splits_of("charades-cd"):
        source = real_data / "charades_cd" / f"charades_{split}.json"
        as_json_lines(source, tmp_path / f"charades_cd_{split}.jsonl", names=names)
    found = read_annotations("qvhighlights", tmp_path)
    published = read_annotations("charades-cd", real_data / "charades_cd")
    for split, moments in published.splits.items():
        assert [replace(m, qid=None) for m in found.splits[split]] == moments
        assert all((m.qid is not None) == names for m in found.splits[split])
        assert found.repairs(split) == published.repairs(split)


def test_the_real_charades_cd_gives_the_same_files_as_json_lines(
    real_data: Path, tmp_path: Path
) -> None:
    lines = tmp_path / "lines"
    lines.mkdir()
    for split in splits_of("charades-cd"):
        source = real_data / "charades_cd" / f"charades_{split}.json"
        as_json_lines(source, lines / f"{split}.jsonl", names=False)
    features = tmp_path / "some.hdf5"  # of all videos it would take long
    whole = real_data / "features/charades_clip_vitb32_1fps_fp16.hdf5"
    with h5py.File(whole, "r") as read, h5py.File(features, "w") as write:
        for video in sorted(read)[::4]:
            write[video] = read[video][()]
    one, two = (
        prepare(
            layout,
            annotations=folder,
            features=features,
            words=real_data / "glove/charades_glove840b300d.npz",
            missing_features="skip",
            out=tmp_path / layout,
            progress=False,
        ).manifest
        for layout, folder in (("charades-cd", real_data / "charades_cd"), ("qvhighlights", lines))
    )
    assert one.files == two.files  # moments, grid, features and words, open and sealed
    for same in ("splits", "roles", "repairs", "carve", "features", "words", "max_clips"):
        assert getattr(one, same) == getattr(two, same)
