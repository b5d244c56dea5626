"""Simulated datasets: the same bytes, the promised statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from support.published_layouts import write_annotations

from refkd.data.annotations import read_annotations
from refkd.data.dataset import Dataset, Pairs
from refkd.data.roles import OPEN_ROLES
from refkd.data.sealed import open_sealed
from refkd.data.simulate import SimulatedFeatures, SimulationConfig, simulate
from refkd.errors import DataError

SMALL = SimulationConfig(videos=48, queries=2, feature_dim=8, word_dim=6, max_clips=20)


def starts(pairs: Pairs) -> np.ndarray:
    """Return where the moments begin, as a share of the video."""
    return np.asarray(pairs.moments[:, 0] / pairs.duration)


def test_the_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    one, two = (simulate(out=tmp_path / name, config=SMALL) for name in "ab")
    other = simulate(out=tmp_path / "c", config=SMALL.model_copy(update={"seed": 1}))
    assert one.fingerprint == two.fingerprint != other.fingerprint
    for path in one.path.rglob("*.*"):
        assert path.read_bytes() == (two.path / path.relative_to(one.path)).read_bytes()


def test_the_settings_are_in_the_manifest(tmp_path: Path) -> None:
    made = simulate(out=tmp_path / "a", config=SMALL)
    assert made.manifest.simulation == SMALL.model_dump(mode="json", exclude={"text"})
    assert made.name == "simulated"
    with pytest.raises(DataError, match="exists"):
        simulate(out=tmp_path / "a", config=SMALL)


def test_the_default_has_every_role_and_a_shift(tmp_path: Path) -> None:
    made = simulate(out=tmp_path / "a")
    pairs = {role: made.role(role) for role in OPEN_ROLES}
    test_id, test_ood = (open_sealed(made.path, r) for r in ("test_id", "test_ood"))  # type: ignore[arg-type]
    assert made.manifest.splits["train"].videos == 400
    assert len(pairs["val_ood"]) >= 90
    assert max(int(p.clips.max()) for p in pairs.values()) <= made.max_clips == 32
    means = {role: float(starts(p).mean()) for role, p in pairs.items()}
    assert abs(means["val_id"] - means["fit"]) < 0.03
    assert abs(float(starts(test_id).mean()) - means["fit"]) < 0.03
    assert means["val_ood"] > means["fit"] + 0.08
    assert float(starts(test_ood).mean()) > means["fit"] + 0.25


def test_in_train_the_action_tells_the_place_and_in_test_ood_it_does_not(tmp_path: Path) -> None:
    made = simulate(out=tmp_path / "a", config=SimulationConfig(location_bias=1.0))

    def share_explained(pairs: Pairs) -> float:
        place = starts(pairs)
        actions = np.array([query.split(" the ")[-2].split()[-1] for query in pairs.queries])
        within = [place[actions == action].var() for action in actions]
        return float(1 - np.mean(within) / place.var())

    assert share_explained(made.role("fit")) > 0.4
    assert share_explained(open_sealed(made.path, "test_ood")) < 0.15


def contrast(pairs: Pairs) -> float:
    """Return how much more alike two moments of one object are than of two objects."""
    assert pairs.contents is not None
    means = []
    for row, (first, last) in enumerate(pairs.spans):
        begin = int(pairs.contents.first[row])
        video = pairs.contents.clips[begin : begin + int(pairs.clips[row])].astype(np.float64)
        means.append(video[first : last + 1].mean(axis=0) - video.mean(axis=0))
    looks = np.array(means)
    looks /= np.linalg.norm(looks, axis=1, keepdims=True)
    things = np.array([query.split()[-1] for query in pairs.queries])
    videos = np.array(pairs.video_ids)
    alike = looks @ looks.T
    other = videos[:, None] != videos
    same = things[:, None] == things
    return float(alike[other & same].mean() - alike[other & ~same].mean())


@pytest.mark.parametrize(("signal", "low", "high"), [(0.0, -0.03, 0.03), (1.0, 0.15, 1.0)])
def test_what_a_query_names_is_seen_in_its_moment_only_with_signal(
    tmp_path: Path, signal: float, low: float, high: float
) -> None:
    config = SimulationConfig(videos=120, signal=signal)
    made = simulate(out=tmp_path / "a", config=config)
    assert low <= contrast(made.role("fit")) <= high


def test_without_signal_features_do_not_depend_on_the_annotations(tmp_path: Path) -> None:
    annotations = read_annotations("charades-cd", write_annotations(tmp_path))
    one = SimulatedFeatures(annotations, SMALL.model_copy(update={"signal": 0.0}))
    moved = {
        split: [m.__class__(**{**_fields(m), "start": 0.0, "end": 1.0}) for m in rows]
        for split, rows in annotations.splits.items()
    }
    two = SimulatedFeatures(
        annotations.__class__(name="charades-cd", splits=moved, sources={}),
        SMALL.model_copy(update={"signal": 0.0}),
    )
    assert np.array_equal(one.read("AIN00"), two.read("AIN00"))


def _fields(moment: object) -> dict[str, object]:
    return {name: getattr(moment, name) for name in moment.__slots__}  # type: ignore[attr-defined]


def test_a_query_is_seen_in_the_clips_of_its_label_and_nowhere_else(tmp_path: Path) -> None:
    quiet = {"queries": 1, "noise": 0.0, "background": 0.0, "distractors": 0}
    made = simulate(out=tmp_path / "a", config=SMALL.model_copy(update=quiet))
    pairs = made.role("fit")
    batch = pairs.batch(range(len(pairs)))
    for row, (first, last) in enumerate(pairs.spans):
        seen = batch.features[row].any(dim=1).nonzero().flatten().tolist()
        assert seen == list(range(first, last + 1))


def test_features_for_some_published_split_files(tmp_path: Path) -> None:
    folder = write_annotations(tmp_path / "annotations")
    whole = simulate(out=tmp_path / "whole", config=SMALL, annotations=folder)
    assert whole.name == "charades-cd"
    assert set(whole.manifest.roles) == {"fit", "val_id", "val_ood", "test_id", "test_ood"}
    (folder / "charades_train.json").unlink()
    (folder / "charades_test_ood.json").unlink()
    part = simulate(out=tmp_path / "part", config=SMALL, annotations=folder)
    assert set(part.manifest.roles) == {"val_id", "test_id"}
    assert part.manifest.words.counted_on == "val"
    assert part.manifest.carve is None
    assert Dataset.open(part.path).role("val_id").queries == whole.role("val_id").queries
    (folder / "charades_val.json").unlink()
    with pytest.raises(DataError, match="only test annotations"):
        simulate(out=tmp_path / "none", config=SMALL, annotations=folder)


@pytest.mark.parametrize(
    "wrong", [{"videos": 3}, {"signal": -1.0}, {"min_clips": 30, "max_clips": 20}, {"video": 9}]
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        SimulationConfig(**wrong)  # type: ignore[arg-type]
