"""Queries with several windows, from their file to a trained network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from support.annotation_files import Pair, world, write_layout
from support.published_layouts import write_features, write_words

from refkd.data.annotations import read_annotations
from refkd.data.dataset import Dataset
from refkd.data.grid import time_to_index
from refkd.data.prepare import prepare
from refkd.errors import DataError
from refkd.evaluation.submission import write_submission
from refkd.models import EMBConfig, VSLNetConfig, build_backbone
from refkd.recipes import RecipeConfig
from refkd.training.config import TrainingConfig, recorded
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import TeacherConfig, freeze_teacher, teacher_trainer

KINDS = ("qvhighlights", "didemo", "table:csv", "table:jsonl", "table:parquet")
THREE = [(20.0, 25.0), (0.0, 5.0), (10.0, 15.0)]


def several(kind: str, number: int = 0) -> dict[str, list[Pair]]:
    """Return annotations where every other query has three windows, and all have a name."""
    splits = world(kind)
    return {
        split: [
            pair._replace(qid=1000 * len(split) + k, windows=THREE if k % 2 else pair.windows)
            for k, pair in enumerate(pairs)
        ]
        for split, pairs in splits.items()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return made(tmp_path_factory.mktemp("several"), several("qvhighlights"))


def made(folder: Path, splits: dict[str, list[Pair]]) -> Dataset:
    videos = sorted({pair.video for pairs in splits.values() for pair in pairs})
    rng = np.random.default_rng(0)
    features = {video: rng.normal(size=(30, 4)).astype(np.float32) for video in videos}
    return prepare(
        "qvhighlights",
        **write_layout("qvhighlights", folder / "annotations", splits),
        features=write_features(folder / "features", "hdf5", features),
        words=write_words(folder / "words.txt"),
        carve_fraction=0.3,
        out=folder / "out",
        progress=False,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_keeps_all_windows_and_names(tmp_path: Path, kind: str) -> None:
    splits = several(kind)
    write_layout(kind, tmp_path, splits)
    found = read_annotations(kind.split(":")[0], tmp_path)
    for split, pairs in splits.items():
        moments = found.splits[split]  # type: ignore[index]
        assert [(m.windows, str(m.qid)) for m in moments] == [
            (tuple(p.windows), str(p.qid)) for p in pairs
        ]


def test_a_window_that_stands_twice_is_one_and_counted(tmp_path: Path) -> None:
    twice = Pair("a", "he runs", [(0.0, 5.0), (10.0, 15.0), (0.0, 5.0)])
    write_layout("qvhighlights", tmp_path, {"train": [twice]})
    found = read_annotations("qvhighlights", tmp_path)
    assert found.splits["train"][0].windows == ((0.0, 5.0), (10.0, 15.0))
    assert found.repairs("train") == {"duplicate": 1}


def test_annotators_who_agree_make_one_window_and_the_majority_comes_first(
    tmp_path: Path,
) -> None:
    shot = {"video": "a.mov", "description": "x", "num_segments": 6}
    shot["times"] = [[3, 3], [0, 1], [0, 1], [3, 3], [0, 1]]
    (tmp_path / "train_data.json").write_text(json.dumps([shot]))
    (moment,) = read_annotations("didemo", tmp_path).splits["train"]
    assert moment.windows == ((0.0, 10.0), (15.0, 20.0))
    assert (moment.video_id, moment.duration, moment.repairs) == ("a", 30.0, ())


def test_windows_and_names_are_stored_and_read(dataset: Dataset) -> None:
    fit = dataset.role("fit")
    assert fit.windows is not None
    assert fit.qids is not None
    assert dataset.manifest.several_windows == {"train": 20, "val": 4, "test_iid": 4}
    for row, count in enumerate(fit.windows.counts.tolist()):
        assert count == (3 if fit.qids[row] % 2 else 1)  # type: ignore[operator]
        spans = time_to_index(
            fit.windows.seconds[row], [fit.clips[row]] * 3, [fit.duration[row]] * 3
        )
        assert np.array_equal(fit.windows.spans[row], spans)
        assert (fit.windows.seconds[row, count:] == fit.moments[row]).all()
    assert np.array_equal(fit.windows.spans[:, 0], fit.spans)


def test_only_where_there_are_several_has_a_table_columns_for_them(
    dataset: Dataset, tmp_path: Path
) -> None:
    plain = made(tmp_path, world("qvhighlights"))
    columns = [set(pq.read_schema(d.path / "moments.parquet").names) for d in (plain, dataset)]
    assert columns[1] - columns[0] == {"windows", "window_clips", "qid"}
    assert plain.role("fit").windows is None
    assert plain.role("fit").qids is None
    assert "several_windows" not in (plain.path / "manifest.json").read_text()


def test_an_epoch_takes_one_window_of_each_pair_by_seed(dataset: Dataset) -> None:
    fit = dataset.role("fit")
    assert fit.windows is not None
    epochs = [fit.drawn(seed=3, epoch=epoch).spans for epoch in range(30)]
    assert np.array_equal(epochs[0], fit.drawn(seed=3, epoch=0).spans)
    assert any(not np.array_equal(epochs[0], other) for other in epochs[1:])
    for row, count in enumerate(fit.windows.counts.tolist()):
        seen = {tuple(spans[row]) for spans in epochs}
        assert seen == {tuple(span) for span in fit.windows.spans[row, :count]}
    drawn = fit.drawn(seed=3, epoch=0)
    batch = drawn.batch([0, 1, 2])
    assert batch.mass is None
    assert np.array_equal(torch.stack([batch.start, batch.end], 1).numpy(), drawn.spans[:3])


def test_a_soft_label_is_shared_by_the_windows(dataset: Dataset) -> None:
    fit = dataset.role("fit")
    rows = np.arange(len(fit))
    batch = fit.batch(rows, soft=True)
    assert batch.mass is not None
    assert fit.windows is not None
    assert batch.mass.sum(dim=2) == pytest.approx(1.0)
    for row in rows.tolist():
        expected = torch.zeros(2, batch.mass.shape[2])
        count = int(fit.windows.counts[row])
        for start, end in fit.windows.spans[row, :count].tolist():
            expected[0, start] += 1 / count
            expected[1, end] += 1 / count
        assert torch.allclose(batch.mass[row], expected)
    chosen = batch.select(torch.tensor([2, 0]))
    assert chosen.mass is not None
    assert torch.equal(chosen.mass, batch.mass[[2, 0]])


SMALL = VSLNetConfig(hidden=8, heads=2)


def teacher(windows: str, recipe: str = "id") -> TeacherConfig:
    training = TrainingConfig(epochs=2, windows=windows)  # type: ignore[arg-type]
    return TeacherConfig(backbone=SMALL, recipe=RecipeConfig.named(recipe), training=training)


@pytest.mark.parametrize("windows", ["drawn", "soft"])
def test_teachers_and_students_learn_several_windows(
    dataset: Dataset, tmp_path: Path, windows: str
) -> None:
    teachers = {}
    for role, recipe in (("id", "id"), ("ood", "refkd_text")):
        config = teacher(windows, recipe)
        trainer = teacher_trainer(config, dataset)
        results = list(trainer.epochs())
        assert results[-1].metrics["train/span"] > 0
        teachers[role] = freeze_teacher(trainer, config, dataset, tmp_path / role)
    config = StudentConfig(backbone=SMALL, training=teacher(windows).training)
    results = list(student_trainer(config, dataset, teachers, tmp_path / "knowledge").epochs())
    assert 0 <= results[-1].metrics["val_id/map_avg"] <= 100
    assert 0 <= results[-1].metrics["val_ood/hit1"] <= 100


def test_the_switch_changes_the_loss_where_there_are_several_windows_alone(
    dataset: Dataset, tmp_path: Path
) -> None:
    plain = made(tmp_path, world("qvhighlights"))

    def losses(data: Dataset) -> list[float]:
        return [
            next(iter(teacher_trainer(teacher(w), data).epochs())).metrics["train/loss"]
            for w in ("drawn", "soft")
        ]

    drawn, soft = losses(dataset)
    assert drawn != soft
    drawn, soft = losses(plain)
    assert drawn == soft


def test_equal_trainings_keep_their_address() -> None:
    assert "windows" not in recorded(teacher("drawn"))["training"]
    assert recorded(teacher("soft"))["training"]["windows"] == "soft"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": EMBConfig()}, "soft needs a teacher whose span loss is a cross-entropy"),
        ({"recipe": RecipeConfig(bias_branch="poe")}, "soft goes with no bias branch"),
    ],
)
def test_losses_that_take_no_soft_label_are_refused(changes: Any, message: str) -> None:
    given = {name: getattr(teacher("soft"), name) for name in ("backbone", "recipe", "training")}
    with pytest.raises(ValidationError, match=message):
        TeacherConfig(**{**given, **changes})


def test_a_submission_has_a_line_a_query(dataset: Dataset, tmp_path: Path) -> None:
    pairs = dataset.role("val_id")
    network = build_backbone(SMALL, dataset.model_inputs(), seed=0)
    assert write_submission(tmp_path / "a.jsonl", network, [pairs]) == len(pairs)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["qid"] for line in lines] == pairs.qids
    assert [line["vid"] for line in lines] == pairs.video_ids
    assert [line["query"] for line in lines] == pairs.queries
    for line in lines:
        windows = line["pred_relevant_windows"]
        assert 1 <= len(windows) <= 10
        assert all(0 <= start < end <= 30.0 for start, end, _ in windows)
        scores = [score for *_, score in windows]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(span) for *span, _ in windows}) == len(windows)


def test_queries_without_a_name_are_called_by_their_pair(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    network = build_backbone(SMALL, tiny_dataset.model_inputs(), seed=0)
    pairs = tiny_dataset.role("val_id")
    write_submission(tmp_path / "a.jsonl", network, [pairs])
    first = json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])
    assert first["qid"] == pairs.pair_ids[0]


def test_a_table_with_other_columns_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    from refkd.data.store import open_store
    from refkd.data.tables import read_pairs

    path = tmp_path / "moments.parquet"
    table = pq.read_table(dataset.path / "moments.parquet")
    pq.write_table(table.rename_columns([*table.column_names[:-1], "name"]), path)
    with pytest.raises(DataError, match="not a moment table of this refkd"):
        read_pairs(path, ["fit"], open_store(dataset.path / "features.h5"), dataset.words)
