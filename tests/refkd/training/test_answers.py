"""Somebody else's answers as a teacher: formats, the rule for spans, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.answers import (
    Rows,
    as_probabilities,
    drawn_rows,
    one_span_each,
    rows_of_teacher,
    write,
)

from refkd.data.dataset import Dataset
from refkd.data.grid import index_to_time
from refkd.data.roles import OPEN_ROLES
from refkd.distill import DistillConfig
from refkd.errors import CheckpointError
from refkd.evaluation.probes import probe
from refkd.models import VSLNetConfig
from refkd.models.backbone import NEGATIVE
from refkd.models.decode import decode
from refkd.training.config import TrainingConfig
from refkd.training.imported.answers import SPAN_FLOOR, read_answers, span_distributions
from refkd.training.imported.teacher import examine_answers, imported_address
from refkd.training.knowledge import make_knowledge
from refkd.training.student import StudentConfig, student_trainer
from refkd.training.teacher import Teacher, find_teacher
from refkd.training.validation import predict_edges, validate

SUFFIXES = (".jsonl", ".parquet", ".npz")


@pytest.fixture(scope="module")
def rows(tiny_dataset: Dataset) -> Rows:
    return drawn_rows(tiny_dataset)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_holds_the_same_logits_bit_for_bit(
    suffix: str, rows: Rows, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    found = read_answers(write(tmp_path / f"answers{suffix}", rows[::-1]), tiny_dataset)
    assert found.kind == "logits"
    place = {row["pair_id"]: row for row in rows}
    for role in OPEN_ROLES:
        pairs, logits = tiny_dataset.role(role), found.logits[role]
        assert logits.dtype == np.float32
        assert logits.shape == (len(pairs), 2, pairs.clips.max())
        for pair, clips, both in zip(pairs.pair_ids, pairs.clips, logits, strict=True):
            assert both[:, :clips].tolist() == [place[pair]["start"], place[pair]["end"]]
            assert (both[:, clips:] == np.float32(NEGATIVE)).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_probabilities_are_logits_up_to_a_constant_of_each_pair(
    suffix: str, rows: Rows, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    logits = read_answers(write(tmp_path / f"a{suffix}", rows), tiny_dataset).logits
    path = write(tmp_path / f"b{suffix}", as_probabilities(rows))
    found = read_answers(path, tiny_dataset)
    assert found.kind == "probabilities"
    for role in OPEN_ROLES:
        a, b = (torch.from_numpy(one[role]).log_softmax(2) for one in (logits, found.logits))
        assert torch.allclose(a, b, atol=1e-5)


def test_a_probability_of_0_stays_finite(tiny_dataset: Dataset, tmp_path: Path) -> None:
    rows = as_probabilities(drawn_rows(tiny_dataset))
    clips = len(rows[0]["start_prob"])
    rows[0]["start_prob"] = [1.0] + [0.0] * (clips - 1)
    found = read_answers(write(tmp_path / "a.jsonl", rows), tiny_dataset).logits["fit"][0, 0]
    assert found[0] == 0.0
    assert (found[1:clips] == np.float32(np.log(1e-12))).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_moments_as_spans_are_answers_without_fault(
    suffix: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    examined = examine_answers(
        write(tmp_path / f"a{suffix}", one_span_each(tiny_dataset)), tiny_dataset
    )
    teacher = examined.write(tmp_path / "teacher")
    for role in ("val_id", "val_ood"):
        pairs = tiny_dataset.role(role)  # type: ignore[arg-type]
        edges = predict_edges(teacher.backbone(tiny_dataset), pairs)
        assert edges.tolist() == np.add(pairs.spans, (0, 1)).tolist()


@given(st.data())
def test_one_span_decodes_to_itself(data: st.DataObject) -> None:
    clips = data.draw(st.integers(1, 128))
    first = data.draw(st.integers(0, clips - 1))
    last = data.draw(st.integers(first, clips - 1))
    duration = data.draw(st.floats(0.5, 2000.0))
    seconds = index_to_time(np.array([[first, last]]), np.array([clips]), np.array([duration]))
    both = span_distributions(seconds, np.ones(1), clips, duration)
    assert both.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert both.min() >= SPAN_FLOOR / clips * (1 - 1e-9)
    start, end = (torch.from_numpy(np.log(edge))[None].float() for edge in both)
    assert [edge.item() for edge in decode(start, end)] == [first, last]


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6), st.integers(1, 30))
def test_spans_share_their_weights(weights: list[float], clips: int) -> None:
    """Whatever the order and however they overlap: on each clip lies what its spans weigh."""
    draw, share = np.random.default_rng(len(weights)), np.array(weights) / sum(weights)
    spans = np.sort(draw.integers(0, clips, size=(len(weights), 2)), axis=1)
    seconds = index_to_time(spans, np.full(len(spans), clips), np.full(len(spans), 9.0))
    both = span_distributions(seconds, share, clips, 9.0)
    for edge, column in zip(both, spans.T, strict=True):
        wanted = [
            (1 - SPAN_FLOOR) * share[column == c].sum() + SPAN_FLOOR / clips for c in range(clips)
        ]
        assert edge == pytest.approx(wanted)


def with_scores(dataset: Dataset, *scores: float) -> Rows:
    """Return rows with the first and the last clip of each video as spans, with two scores."""
    return [
        {
            "pair_id": pair,
            "spans": [[0.0, step, scores[0]], [duration - step, duration, scores[1]]],
        }
        for role in OPEN_ROLES
        for pairs in [dataset.role(role)]
        for pair, step, duration in zip(
            pairs.pair_ids, pairs.duration / pairs.clips, pairs.duration, strict=True
        )
    ]


@pytest.mark.parametrize(
    ("scores", "weight"), [((3.0, 1.0), 0.75), ((0.0, -1.0), 0.7310585786), ((0.2, 0.0), 1.0)]
)
def test_scores_are_shares_unless_one_is_negative(
    scores: tuple[float, float], weight: float, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.parquet", with_scores(tiny_dataset, *scores))
    found = read_answers(path, tiny_dataset).logits["val_ood"][0]
    clips = int(tiny_dataset.role("val_ood").clips[0])
    wanted = (1 - SPAN_FLOOR) * weight + SPAN_FLOOR / clips
    assert np.exp(found[:, 0]) == pytest.approx([wanted, wanted], rel=1e-5)


def test_one_negative_score_makes_logits_of_all(tiny_dataset: Dataset, tmp_path: Path) -> None:
    rows = with_scores(tiny_dataset, 3.0, 1.0)
    rows[-1]["spans"][0][2] = -1.0
    found = read_answers(write(tmp_path / "a.jsonl", rows), tiny_dataset).logits["fit"][0]
    assert np.exp(found[0, 0]) == pytest.approx(0.99 / (1 + np.exp(-2.0)), abs=2e-3)


def test_pairs_with_fewer_spans_are_filled_up_with_nan(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    rows = with_scores(tiny_dataset, 3.0, 1.0)
    rows[0]["spans"].pop()
    a = read_answers(write(tmp_path / "a.npz", rows), tiny_dataset)
    b = read_answers(write(tmp_path / "b.jsonl", rows), tiny_dataset)
    assert all((a.logits[role] == b.logits[role]).all() for role in OPEN_ROLES)


def test_a_trained_teacher_is_the_same_teacher_when_it_is_imported(
    teachers: dict[str, Teacher], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    """It scores the same, and a student learns the same of it, to the last bit."""
    trained = teachers["ood"]
    path = write(tmp_path / "ood.jsonl", rows_of_teacher(trained, tiny_dataset))
    examine_answers(path, tiny_dataset).write(tmp_path / "teacher")
    imported = find_teacher(tmp_path / "teacher")
    assert imported is not None
    scores = imported.record.metrics
    assert scores == {name: trained.record.metrics[name] for name in scores}
    assert {"val_id/miou", "val_ood/miou", "val/harmonic_miou", "val_ood/map_avg"} <= scores.keys()
    a = make_knowledge(trained, tiny_dataset, tmp_path / "a")
    b = make_knowledge(imported, tiny_dataset, tmp_path / "b")
    assert a.path.name != b.path.name
    assert (a.logits == b.logits).all()
    config = StudentConfig(
        backbone=VSLNetConfig(hidden=8, heads=2), training=TrainingConfig(epochs=1)
    )
    runs = [
        next(
            student_trainer(
                config, tiny_dataset, {**teachers, "ood": ood}, tmp_path / "k"
            ).epochs()
        )
        for ood in (trained, imported)
    ]
    first, second = (
        {n: v for n, v in run.metrics.items() if not n.startswith("cost/")} for run in runs
    )
    assert first == second


def test_an_imported_teacher_is_filed_by_its_file_and_the_dataset(
    rows: Rows, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    path = write(tmp_path / "a.jsonl", rows)
    address = imported_address(path, tiny_dataset)
    assert imported_address(write(tmp_path / "b.jsonl", rows), tiny_dataset) == address
    assert imported_address(write(tmp_path / "c.jsonl", rows[::-1]), tiny_dataset) != address


def test_who_asks_for_a_network_is_told_that_there_is_none(
    rows: Rows, teachers: dict[str, Teacher], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    examined = examine_answers(write(tmp_path / "a.jsonl", rows), tiny_dataset)
    imported = examined.write(tmp_path / "teacher")
    answers = imported.backbone(tiny_dataset)
    assert validate(answers, tiny_dataset).metrics == imported.record.metrics
    inside, outside = (tiny_dataset.role(role) for role in ("val_id", "val_ood"))
    with pytest.raises(
        CheckpointError, match="has no network, and no answers to batches that a p"
    ):
        probe(answers, inside, outside, seed=0)
    with pytest.raises(CheckpointError, match="no answers to the pairs of test_ood"):
        answers.begin_role("test_ood")
    small = VSLNetConfig(hidden=8, heads=2)
    for name, value in (("student_init", "id_teacher"), ("teacher_cache", "off")):
        distill = DistillConfig.model_validate({name: value})
        config = StudentConfig(backbone=small, distill=distill, training=TrainingConfig(epochs=1))
        with pytest.raises(CheckpointError, match=f"{name}: {value} needs the teacher's network"):
            student_trainer(config, tiny_dataset, {**teachers, "id": imported}, tmp_path / "k")
