"""The contract of every layout of annotations: what is read, what is odd, and what stops."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from support.annotation_files import FILES, Pair, path_of, splits_of, world, write_layout
from support.published_layouts import write_features, write_words

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
    features = {video: np.ones((60, 4), dtype=np.float32) for video in videos}
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


LINE = {"qid": 1, "query": "He runs.", "duration": 10.0, "vid": "a", "relevant_windows": [[1, 3]]}
ROW = {"video": "a", "query": "He runs.", "start": 1, "end": 3, "duration": 10.0}
SHOT = {"video": "a.mov", "description": "He runs.", "num_segments": 6, "times": [[0, 1]]}
FRAMES = {"fps": 10, "num_frames": 300, "timestamps": [[10, 30]], "sentences": ["He cuts."]}


def lines(*rows: Any) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def bad_line(**changes: Any) -> tuple[str, str, str]:
    return ("qvhighlights", "train.jsonl", lines(LINE, {**LINE, **changes}))


def bad_row(**changes: Any) -> tuple[str, str, str]:
    return ("table", "train.jsonl", lines(ROW, {**ROW, **changes}))


def bad_shot(**changes: Any) -> tuple[str, str, str]:
    return ("didemo", "train_data.json", json.dumps([SHOT, {**SHOT, **changes}]))


def bad_frames(**changes: Any) -> tuple[str, str, str]:
    return ("tacos", "train.json", json.dumps({"s13.avi": {**FRAMES, **changes}}))


def bad_text(text: str) -> tuple[str, str, str]:
    return ("charades-sta", "charades_sta_train.txt", text)


def bad_csv(text: str) -> tuple[str, str, str]:
    return ("table", "train.csv", f"video,query,start,end,duration,qid\n{text}")


BAD = [
    (bad_line(query=" \n"), r"train\.jsonl:2: the sentence is ' \\n'; write a query"),
    (bad_line(query=None), r":2: the sentence is None"),
    (bad_line(query=["a"]), r":2: the sentence is \['a'\]"),
    (bad_line(query="\ud83d"), r":2: the sentence '\\ud83d' holds half a character"),
    (bad_line(vid=""), r":2: the video is ''; give its id"),
    (bad_line(vid=True), r":2: the video is True; give its id"),
    (bad_line(vid=1.5), r":2: the video is 1\.5; give its id"),
    (bad_line(vid="\udc00"), r":2: the id '\\udc00' holds half a character"),
    (bad_line(qid=[1]), r":2: the qid is \[1\]; give a number or a text"),
    (bad_line(qid="\ud83d"), r":2: the qid '\\ud83d' holds half a character"),
    (bad_line(duration=None), r":2: duration is missing; .* --durations FILE"),
    (bad_line(duration=0), r":2: duration is 0; give the video's length"),
    (bad_line(duration="10"), r":2: duration is '10'; give seconds as a finite number"),
    (bad_line(duration=12.0), r":2: duration is 12\.0, but 10 in an earlier pair of video a"),
    (bad_line(relevant_windows=[]), r":2: has no window; give one, or remove the query"),
    (bad_line(relevant_windows=None), r":2: has no window"),
    (bad_line(relevant_windows=5), r":2: relevant_windows is 5; give \[\[start, end\], …\]"),
    (bad_line(relevant_windows=[1, 3]), r":2: the timestamp is 1; give \[start, end\]"),
    (bad_line(relevant_windows=[[1, 3, 5]]), r":2: the timestamp is \[1, 3, 5\]"),
    (bad_line(relevant_windows=[[1, None]]), r":2: the time is None"),
    (bad_line(relevant_windows=[[1, float("inf")]]), r":2: the time is inf"),
    (bad_line(relevant_windows=[[-1, 3]]), r":2: the timestamp \[-1, 3\] is negative"),
    (("qvhighlights", "train.jsonl", lines(LINE) + '{"qid": 1'), r":2: not valid JSON"),
    (("qvhighlights", "train.jsonl", lines(LINE, [1])), r":2: is \[1\]; give a JSON object"),
    (("qvhighlights", "train.jsonl", lines({"qid": 1})), r":1: query, vid is missing"),
    (("qvhighlights", "train.jsonl", " \n\n"), r"train\.jsonl: is empty"),
    (("qvhighlights", "train.jsonl", '{"qid": 1, "qid": 2}'), r":1: qid stands 2 times"),
    (("qvhighlights", "val.jsonl", lines(LINE)), r"a file of train is missing"),
    (bad_row(start="1"), r":2: the time is '1'; give seconds"),
    (bad_row(end=True), r":2: the time is True"),
    (bad_row(split="mini"), r":2: the split is 'mini'; give one of train, val"),
    (bad_row(split=3), r":2: the split is 3"),
    (
        ("table", "train.jsonl", lines({"clip": "a"})),
        r":1: has no column 'video' for video, but c",
    ),
    (bad_csv("a,He runs.,1,x,10,\n"), r"train\.csv: row 1: the time is 'x'"),
    (bad_csv("a,He runs.,1,0:03,10,\n"), r"row 1: the time is '0:03'"),
    (bad_csv("a,He runs.,,3,10,\n"), r"row 1: the time is ''"),
    (bad_csv("a,He runs.,1,3,,\n"), r"row 1: duration is missing"),
    (bad_csv("a,,1,3,10,\n"), r"row 1: the sentence is ''"),
    (bad_csv(",He runs.,1,3,10,\n"), r"row 1: the video is ''"),
    (bad_csv("a,He runs.,1,3\n"), r"train\.csv: cannot be read as a table .*Expected 6 columns"),
    (bad_csv(""), r"train\.csv: has no rows"),
    (bad_csv("a,x,1,3,10,7\na,y,1,3,10,7\n"), r"row 2: the query is 'y', but 'x' in another row"),
    (bad_csv("a,x,1,3,10,7\nb,x,1,3,10,7\n"), r"row 2: the video is 'b', but 'a' in another row"),
    (("table", "train.csv", ""), r"train\.csv: cannot be read as a table"),
    (("table", "train.csv", "video,video\na,b\n"), r"has the column 'video' twice"),
    (("table", "train.parquet", "no table"), r"train\.parquet: cannot be read as a table"),
    (bad_shot(times=[]), r"entry 1: has no window"),
    (bad_shot(times=5), r"entry 1: times is 5"),
    (bad_shot(times=[[0]]), r"entry 1: the segments are \[0\]"),
    (bad_shot(times=[[0, 1.5]]), r"entry 1: the segments are \[0, 1\.5\]"),
    (bad_shot(times=[[-1, 1]]), r"entry 1: the segments are \[-1, 1\]"),
    (bad_shot(num_segments=0), r"entry 1: num_segments is 0"),
    (bad_shot(num_segments=None), r"entry 1: duration is missing"),
    (("didemo", "train_data.json", "{}"), r"expected a list of descriptions, found dict"),
    (("didemo", "train_data.json", "[5]"), r"entry 0: is 5"),
    (("didemo", "train_data.json", "[{}]"), r"entry 0: description, times, video is missing"),
    (bad_frames(fps=0), r"video s13\.avi: fps is 0; give a number above 0"),
    (bad_frames(num_frames=None), r"video s13\.avi: num_frames is None"),
    (bad_frames(timestamps=[[1, "2"]]), r"video s13\.avi, pair 0: the time is '2'"),
    (bad_frames(timestamps=[[10**400, 2]]), r"video s13\.avi, pair 0: the time is 1000"),
    (bad_frames(timestamps=[5]), r"video s13\.avi, pair 0: the timestamp is 5"),
    (("tacos", "train.json", json.dumps({"a": {"fps": 1}})), "num_frames, sentences, timestamps"),
    (bad_text("AO8RW 0.0 6.9 a person\n"), r"train\.txt:1: is 'AO8RW .*; write VIDEO START END##"),
    (bad_text("AO8RW 0.0##a person\n"), r"train\.txt:1: is 'AO8RW 0\.0##a person'"),
    (bad_text("AO8RW 0.0 x##a person\n"), r"train\.txt:1: the time is 'x'"),
    (bad_text("AO8RW 0.0 6.9##\n"), r"train\.txt:1: the sentence is ''"),
    (bad_text("AO8RW 0.0 6.9##a person\n"), r"train\.txt:1: duration is missing"),
    (bad_text(""), r"train\.txt: is empty"),
    (("charades-cg", "test_trivial.json", "{}"), r"train\.json is missing"),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, given: tuple[str, str, str], message: str
) -> None:
    layout, name, text = given
    (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogatepass")
    durations = {"s13": 30.0}.get if "duration" in message else (lambda video: None)
    if layout == "charades-sta" and "duration" not in message:
        durations = lambda video: 30.0  # noqa: E731
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(layout, tmp_path, durations=durations)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"video,query,start,end\nT\xfcr,opens,1,2\n", r"train\.csv: cannot be read as a table"),
        (b"\xff\xfev\x00", r"train\.csv: cannot be read as a table"),
    ],
)
def test_tables_in_another_encoding_stop(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_annotations("table", tmp_path)


def test_lines_in_another_encoding_stop(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(json.dumps(LINE).encode("utf-16"))
    with pytest.raises(DataError, match=r"train\.jsonl: byte 0 is no UTF-8; save the file"):
        read_annotations("qvhighlights", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"files": {"fit": Path("x")}}, "fit=x: unknown split; give one of train, val"),
        (
            {"files": {"val": Path("absent.csv")}},
            r"absent\.csv: no such file; give the one of val",
        ),
        ({"columns": {"clip": "x"}}, "column clip=x: unknown field; give one of video, query"),
        ({"columns": {"query": "text"}}, "row 1: has no column 'text' for query, but video"),
        ({"columns": {"qid": "id"}}, "row 1: has no column 'id' for qid"),
        ({"val_fraction": 1.5}, "val-fraction is 1.5; give a share between 0 and 1"),
        ({"carve_fraction": 0.0}, "carve-fraction is 0.0; give a share between 0 and 1"),
        ({"rows_per_second": 0.0}, "rows-per-second is 0.0; give a number above 0"),
        (
            {"carve_fraction": 0.01},
            r"val_ood: the carve of q = 0\.01 takes .*\(--carve-fraction\)",
        ),
        ({"annotations": None}, "no annotations are given"),
        ({"annotations": Path("absent")}, "absent: no such folder; give the one with the .jsonl"),
    ],
)
def test_bad_options_are_one_clear_line(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "annotations"
    write_layout("table:csv", folder, {"train": world("table:csv", videos=10)["train"]})
    features = {f"train{k:02d}": np.ones((31, 4), dtype=np.float32) for k in range(10)}
    given = {
        "annotations": folder,
        "features": write_features(tmp_path / "features", "npy", features),
        "words": write_words(tmp_path / "words.txt"),
        **options,
    }
    with pytest.raises(DataError, match=message) as caught:
        prepare("table", **given, out=tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_two_files_that_may_be_a_split_are_named(tmp_path: Path) -> None:
    for name in ("train.csv", "my_train.jsonl"):
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match=r"both my_train\.jsonl and train\.csv may be train; .*="):
        read_annotations("table", tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "clip,length\nx,1\n", r"a\.csv: has the columns clip, length; name them id and"),
        ("a.json", "[1]", r"a\.json: is no JSON object; give seconds by video id"),
        ("a.csv", "id,length\nx,1\nx,2\n", r"row 2: video x lasts 2\.0, but 1\.0 above"),
        ("absent/a.json", None, r"a\.json: cannot be read"),
        ("a.json", '{"a": "long"}', "duration is 'long'"),
    ],
)
def test_bad_lists_of_lengths_stop(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    (tmp_path / "train.txt").write_text("a 1 2##he runs\n")
    with pytest.raises(DataError, match=message):
        read_annotations(
            "charades-sta",
            tmp_path / "train.txt",
            durations=read_durations([tmp_path / name]),
        )


def test_too_few_train_videos_for_a_validation_split_stop(tmp_path: Path) -> None:
    from refkd.data.splits import hold_out

    annotations = read("charades-sta", tmp_path, {"train": world("charades-sta")["train"][:6]})
    with pytest.raises(DataError, match="train has 3 videos, too few to validate on 2 of them"):
        hold_out(annotations, fraction=0.1, seed=0)
