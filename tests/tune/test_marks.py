"""Leakage and reconstructions are said wherever a study's results are shown."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from refkd.data.dataset import Dataset
from refkd.evaluation.comparison import Row
from refkd.exported import export
from refkd.models import build_backbone
from refkd.models.vslnet import VSLNetConfig
from refkd.retriever import Retriever
from tune.config.study_file import StudyFile
from tune.display.study import show_best, show_status
from tune.study.summary import Cost, Summary, TrialSummary
from tune.tracking.card import Registration, model_card
from tune.tracking.projection import CAVEATS_TAG, caveats_tag

ORACLE = {"preset": "oracle", "oracle": True}
LEAK = "OOD teacher oracle: it is trained on val_ood"


def study(**changes: Any) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "marked",
            "dataset": "data",
            "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
            **changes,
        }
    )


def test_a_study_of_plain_names_bears_no_mark() -> None:
    assert study().caveats() == []
    assert caveats_tag(study()) == {}


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"teachers": {"ood": {"recipe": ORACLE}}}, [LEAK]),
        ({"teachers": {"ood": {"recipe": "zhang2021b"}}}, ["OOD teacher zhang2021b: rebuilt"]),
        ({"backbone": {"name": "mrtnet"}}, ["backbone MRTNet: rebuilt"]),
        (
            {
                "teachers": {
                    "id": {"recipe": "id", "backbone": {"name": "mrtnet"}},
                    "ood": {"recipe": {"preset": "combined", "oracle": True}},
                }
            },
            [
                "ID teacher MRTNet: rebuilt",
                "OOD teacher combined: it is trained on val_ood",
                "OOD teacher combined: rebuilt",
            ],
        ),
    ],
)
def test_each_reason_is_a_sentence_of_its_own(changes: dict[str, Any], begins: list[str]) -> None:
    marks = study(**changes).caveats()
    assert len(marks) == len(begins)
    assert all(m.startswith(b) for m, b in zip(marks, begins, strict=True))
    assert caveats_tag(study(**changes)) == {CAVEATS_TAG: "; ".join(marks)}


def test_tables_of_a_study_end_with_its_marks() -> None:
    marks = study(teachers={"ood": {"recipe": ORACLE}}).caveats()
    metrics = {"val_id/miou": 30.0, "val_ood/miou": 20.0}
    trial = TrialSummary(number=0, state="COMPLETE", epoch=1, values={}, metrics=metrics)
    summary = Summary(
        study="marked",
        objectives=["val_id/miou", "val_ood/miou"],
        wanted=1,
        trials=[trial],
        front=[0],
        champions={"best-id": 0},
        cost=Cost(),
        teachers={},
        marks=marks,
    )
    for show in (show_status, show_best):
        out = StringIO()
        show(Console(file=out, width=300), summary)
        assert f"! {LEAK}" in out.getvalue()


def test_a_model_tells_its_marks_wherever_it_is_taken(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    config = VSLNetConfig(hidden=8, heads=2)
    network = build_backbone(config, tiny_dataset.model_inputs(), seed=0)
    export(network, config, tiny_dataset, tmp_path / "marked", marks=[LEAK])
    assert Retriever.load(tmp_path / "marked").marks == [LEAK]
    export(network, config, tiny_dataset, tmp_path / "plain")
    assert Retriever.load(tmp_path / "plain").marks == []
    scores: dict[str, Row] = {}
    student = Registration(
        alias="best-id", trial=0, run="trial/0000", folder=tmp_path, scores=scores, reason="best"
    )
    leaking = study(teachers={"ood": {"recipe": ORACLE}})
    card = model_card(leaking, tiny_dataset, student)
    assert card.index(f"**Beware.** {LEAK}") < card.index("## Training data")
    assert "Beware" not in model_card(study(), tiny_dataset, student)
