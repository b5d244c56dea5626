"""Annotations that cannot be used: each is one clear line with file, place, value and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.annotation_files import world, write_layout
from support.published_layouts import write_features, write_words

from refkd.data.annotations import read_annotations
from refkd.data.durations import read_durations
from refkd.data.prepare import prepare
from refkd.data.splits import hold_out
from refkd.errors import DataError

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
    write_layout("table:csv", tmp_path, {"train": world("table:csv")["train"][:6]})
    annotations = read_annotations("table", tmp_path)
    with pytest.raises(DataError, match="train has 3 videos, too few to validate on 2 of them"):
        hold_out(annotations, fraction=0.1, seed=0)
