"""Annotation files: what is repaired, what stops, and the published counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.published_layouts import write_annotations

from refkd.data.annotations import detect_dataset, read_annotations, require_published
from refkd.errors import DataError

GOOD = {"duration": 10.0, "timestamps": [[1.0, 3.0]], "sentences": ["He runs."]}


def write(folder: Path, **splits: Any) -> Path:
    """Write ActivityNet split files; those not named hold one good video of their own."""
    for split in ("train", "val", "test_iid", "test_ood"):
        content = splits.get(split, {f"v_{split}": GOOD})
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"anet_{split}.json").write_text(text, encoding="utf-8")
    return folder


def entry(**changes: Any) -> dict[str, Any]:
    """Return a good video with some fields changed."""
    return {**GOOD, **changes}


@pytest.mark.parametrize(
    ("span", "kinds"),
    [
        ([1, 3], []),
        ([1, 10.01], ["end_after_video"]),
        ([13, 38], ["end_after_video", "start_after_video"]),
        ([10, 10], ["start_after_video", "zero_length"]),
        ([5, 2], ["reversed"]),
        ([5, 5], ["zero_length"]),
    ],
)
def test_known_dirt_is_kept_and_listed(
    tmp_path: Path, span: list[float], kinds: list[str]
) -> None:
    write(tmp_path, train={"v_a": entry(timestamps=[span])})
    annotations = read_annotations("activitynet-cd", tmp_path)
    (moment,) = annotations.splits["train"]
    assert [moment.start, moment.end] == span
    assert [repair.kind for repair in moment.repairs] == kinds
    assert annotations.repairs("train") == dict.fromkeys(kinds, 1)
    assert all(repair.before == tuple(span) for repair in moment.repairs)
    assert all(max(repair.after) <= 10.0 for repair in moment.repairs)


def test_exact_duplicates_are_dirt_in_activitynet_train_and_an_error_elsewhere(
    tmp_path: Path,
) -> None:
    twice = {"v_a": entry(timestamps=[[1, 3]] * 2, sentences=["He runs."] * 2)}
    write(tmp_path, train=twice)
    annotations = read_annotations("activitynet-cd", tmp_path)
    assert annotations.repairs("train") == {"duplicate": 1}
    assert [m.pair_id for m in annotations.splits["train"]] == ["v_a#0", "v_a#1"]
    write(tmp_path, val=twice)
    with pytest.raises(DataError, match=r"anet_val\.json: video v_a, pair 1: repeats"):
        read_annotations("activitynet-cd", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"v_a": {"duration": 1', "not valid JSON"),
        ("[]", "expected videos by id"),
        ("{}", "expected videos by id"),
        ('{"v_a": {}, "v_a": {}}', "v_a stands 2 times"),
        (
            {"v_a": entry(timestamps=[[-1, 3]])},
            r"v_a, pair 0: the timestamp \[-1, 3\] is negative",
        ),
        ('{"v_a": {"duration": 9, "timestamps": [[NaN, 3]], "sentences": ["x"]}}', "is nan"),
        ({"v_a": entry(timestamps=[[1, "3"]])}, "the time is '3'"),
        ({"v_a": entry(timestamps=[[1, True]])}, "the time is True"),
        ({"v_a": entry(timestamps=[[1, 2, 3]])}, r"the timestamp is \[1, 2, 3\]"),
        ({"v_a": {"timestamps": [[1, 3]], "sentences": ["x"]}}, "duration is missing"),
        ({"v_a": entry(duration=0)}, "duration is 0"),
        ({"v_a": entry(duration=None)}, "duration is missing"),
        ({"v_a": entry(sentences=["a", "b"])}, "1 timestamps but 2 sentences"),
        ({"v_a": entry(timestamps=[], sentences=[])}, "0 timestamps but 0 sentences"),
        ({"v_a": entry(sentences=[" \n"])}, "the sentence is"),
        ({"v_a": entry(sentences=[None])}, "the sentence is None"),
        ({"v_a": entry(sentences=["\ud83d"])}, "v_a, pair 0: .* half a character"),
        ('{"\\ud83d": {}}', "half a character"),
        ({"v_a": 5}, "video v_a: is 5"),
        ({"v_a": entry(timestamps=5)}, "must be lists"),
        ({"v_a": entry(timestamps={"0": [1, 2]})}, "must be lists"),
        ({"v_a": entry(duration=10**400)}, "duration is 1000"),
        ("1" * 5000, "not valid JSON"),
        ("[" * 10**5, "not valid JSON"),
        ({"v_train": GOOD}, r"v_train also stands in anet_train\.json"),
    ],
)
def test_wrong_annotations_stop(tmp_path: Path, content: Any, message: str) -> None:
    write(tmp_path, val=content)
    with pytest.raises(DataError, match=message) as caught:
        read_annotations("activitynet-cd", tmp_path)
    assert str(tmp_path / "anet_val.json") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = write(tmp_path) / "anet_val.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [m.video_id for m in read_annotations("activitynet-cd", tmp_path).splits["val"]] == [
        "v_val"
    ]


def test_unknown_and_missing_split_files_stop(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "anet_test.json").write_text("{}")
    with pytest.raises(DataError, match=r"anet_test\.json: not a split of activitynet-cd"):
        read_annotations("activitynet-cd", tmp_path)
    (tmp_path / "anet_test.json").unlink()
    (tmp_path / "anet_val.json").unlink()
    with pytest.raises(DataError, match=r"anet_val\.json is missing"):
        read_annotations("activitynet-cd", tmp_path)
    partly = read_annotations("activitynet-cd", tmp_path, partial=True)
    assert set(partly.splits) == {"train", "test_iid", "test_ood"}
    with pytest.raises(DataError, match="no such folder"):
        read_annotations("charades-cd", tmp_path / "absent")


def test_other_numbers_than_the_published_ones_are_told(tmp_path: Path) -> None:
    write(tmp_path)
    annotations = read_annotations("activitynet-cd", tmp_path)
    assert not annotations.as_published
    with pytest.raises(DataError, match=r"anet_train\.json: 1 pairs, published are 51,415"):
        require_published(annotations, tmp_path)


def test_the_dataset_is_told_by_its_file_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found those of 0"):
        detect_dataset(tmp_path)
    write(tmp_path)
    assert detect_dataset(tmp_path) == "activitynet-cd"
    write_annotations(tmp_path)
    with pytest.raises(DataError, match="found those of 2"):
        detect_dataset(tmp_path)


def test_the_published_charades_files(real_data: Path) -> None:
    annotations = read_annotations("charades-cd", real_data / "charades_cd")
    require_published(annotations, real_data)
    assert {split: annotations.repairs(split) for split in annotations.splits} == {
        "train": {"end_after_video": 1652},
        "val": {"end_after_video": 135},
        "test_iid": {"end_after_video": 151},
        "test_ood": {"end_after_video": 348, "start_after_video": 3},
    }


def test_the_published_activitynet_files(real_data: Path) -> None:
    folder = real_data / "activitynet_cd"
    annotations = read_annotations("activitynet-cd", folder, partial=True)
    counts = {split: len(moments) for split, moments in annotations.splits.items()}
    assert counts == {"val": 3521, "test_iid": 3443}
    assert annotations.repairs("val") == {"end_after_video": 17}
    assert annotations.repairs("test_iid") == {"end_after_video": 27}
