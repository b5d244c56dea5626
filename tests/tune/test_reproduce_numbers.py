"""The numbers of a table: the paper's as printed, ours with intervals that mean something."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray

from refkd.data.dataset import Dataset
from refkd.data.pairs import Pairs
from refkd.evaluation.comparison import MEANING, Figure
from refkd.evaluation.probes import Probes, RoleProbes
from refkd.models import QAVEConfig
from refkd.training.teacher import TeacherConfig
from tune.reproduce import formats, scores, table
from tune.reproduce.experiments import experiments
from tune.reproduce.scales import NETWORKS, SCALES
from tune.reproduce.scores import Claim, Scored
from tune.reproduce.table import PRINTED, Result, family_of, paper_numbers, printed
from tune.reproduce.units import Unit, units_of

ABLATIONS = ("table3", "table4")


@pytest.mark.parametrize("name", experiments())
def test_every_system_of_an_experiment_can_be_configured(
    name: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    for scale in SCALES.values():
        asked = experiments(scale.sweep)[name]
        units = units_of(asked, scale, tiny_dataset, tmp_path)
        assert set(units.rows) == {system.label for system in asked.systems}
        assert all(len(row) == scale.seeds for row in units.rows.values())
        assert {system.backbone for system in asked.systems} <= set(NETWORKS)


def test_no_row_counts_a_match_loss_twice(tiny_dataset: Dataset, tmp_path: Path) -> None:
    scale = SCALES["paper"]
    units = units_of(experiments()["table1"], scale, tiny_dataset, tmp_path)
    config = units.rows["Shuffle Video"][0].config
    assert isinstance(config, TeacherConfig)
    assert isinstance(config.backbone, QAVEConfig)
    assert config.recipe.w_match == 1.0
    assert config.backbone.match_weight == 0.0


@pytest.mark.parametrize("name", [n for n in experiments() if n.startswith("table")])
def test_every_row_that_the_paper_prints_is_one_of_ours(name: str) -> None:
    labels = {system.label for system in experiments()[name].systems}
    for family in ("charades-cd", "activitynet-cd"):
        rows = [label for label in labels if printed(family, name, label)]
        assert set(rows) == set(paper_numbers()[family].get(name, {}))


def test_ablations_repeat_the_main_rows_of_the_first_table() -> None:
    main = printed("charades-cd", "table1", "RefKD")
    for name in ABLATIONS:
        for key, value in printed("charades-cd", name, "RefKD").items():
            assert value == main[key]
    assert printed("charades-cd", "table2", "VSLNet ID teacher") == printed(
        "charades-cd", "table1", "VSLNet"
    )
    assert [c for c in PRINTED if c not in printed("charades-cd", "table3", "RefKD")] == [
        ("id", "r1_iou0.3"),
        ("ood", "r1_iou0.3"),
    ]


@pytest.mark.parametrize(
    ("dataset", "family"),
    [
        ("charades-cd-clip", "charades-cd"),
        ("anet_cd", "activitynet-cd"),
        ("charades-sta", None),
        ("activitynet-captions", None),
        ("quickstart", None),
    ],
)
def test_the_dataset_says_whose_numbers_stand_beside(dataset: str, family: str | None) -> None:
    assert family_of(dataset) == family


def test_rows_share_teachers_and_differ_in_their_seeds(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    scale = SCALES["smoke"]
    third = units_of(experiments()["table3"], scale, tiny_dataset, tmp_path)
    fourth = units_of(experiments()["table4"], scale, tiny_dataset, tmp_path)
    students = [row for row in third.rows.values() if row[0].teachers]
    for replicate in range(scale.seeds):
        units = [row[replicate] for row in students]
        assert len({unit.folder for unit in units}) == len(units)
        assert len({unit.config.seed for unit in units}) == 1
        for role in ("id", "ood"):
            assert len({unit.teachers[role].folder for unit in units}) == 1
    assert len({unit.config.seed for unit in students[0]}) == scale.seeds
    shared = {u.folder for u in third.all()} & {u.folder for u in fourth.all()}
    assert len(shared) == scale.seeds * 3  # both teachers and RefKD itself
    first = third.all()
    assert [bool(u.teachers) for u in first] == sorted(bool(u.teachers) for u in first)


def cell(value: float, half: float) -> Figure:
    return Figure(value=value, low=value - half, high=value + half, sd=1.0, half_videos=half)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((3, 3, 3, 3), "confirmed"),
        ((3, 3, 3, 1), "unresolved"),
        ((3, 3, 3, -3), "refuted"),
        ((1, 1, 1, 1), "unresolved"),
    ],
)
def test_the_claim_is_confirmed_only_against_both_teachers_on_both(
    gains: tuple[float, ...], verdict: str
) -> None:
    cells = [{"miou": cell(gain, 2.0)} for gain in gains]
    differences = {
        "id": {"id": cells[0], "ood": cells[1]},
        "ood": {"id": cells[2], "ood": cells[3]},
    }
    assert scores.decide(differences) == verdict


def probes() -> Probes:
    def role(own: float) -> RoleProbes:
        left = {"miou": own / 2}
        return RoleProbes(
            own={"miou": own}, query_blind=left, video_blind=left, shuffled_clips=left, places=[]
        )

    return Probes(seed=0, id=role(40.0), ood=role(30.0), gap={"miou": 10.0})


def test_networks_of_one_replicate_belong_together(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicates differ by 10 points, students by 1 to 4 from their teachers, without networks."""
    asked = experiments()["table3"]
    units = units_of(asked, SCALES["smoke"], tiny_dataset, tmp_path)
    place = {label: k for k, label in enumerate(units.rows)}

    def values_of(unit: Unit, _: object, roles: Mapping[str, Pairs]) -> dict[str, NDArray[Any]]:
        level = 20.0 + 10.0 * unit.replicate + (place[unit.row] if unit.teachers else 0)
        return {side: np.full((len(pairs), 5), level) for side, pairs in roles.items()}

    monkeypatch.setattr(scores, "_values_of", values_of)
    monkeypatch.setattr(scores, "probe", lambda *_, **__: probes())
    monkeypatch.setattr(Unit, "frozen", lambda _: Mock())
    roles = {"id": tiny_dataset.role("val_id"), "ood": tiny_dataset.role("val_ood")}
    found = scores.score_units(units, tiny_dataset, roles)
    (claim,) = found.claims
    assert claim.verdict == "confirmed"
    gains = [side["miou"] for teacher in claim.differences.values() for side in teacher.values()]
    assert {(g.value, g.low, g.high, g.sd) for g in gains} == {(2.0, 2.0, 2.0, 0.0)}
    less = {label: sides["ood"]["miou"] for label, sides in found.ablations.items()}
    assert {k: (f.value, f.sd) for k, f in less.items()} == {k: (place[k] - 2, 0.0) for k in less}
    assert set(less) == {"w/o LR", "w/o DR", "w/o both"}
    row = found.rows["RefKD"]["id"]["r1_iou0.5"]
    assert (row.value, row.half_videos) == (27.0, 0.0)
    assert row.sd == pytest.approx(50**0.5)


@pytest.fixture
def scored() -> Scored:
    asked = experiments()["table3"]
    rows = {
        system.label: {
            side: {m: cell(30.0 + k, 1.5) for m in table.HEADS} for side in ("id", "ood")
        }
        for k, system in enumerate(asked.systems)
    }
    gain = {side: {"miou": cell(1.0, 2.0)} for side in ("id", "ood")}
    return Scored(
        pairs={"id": 193, "ood": 107},
        roles={"id": "val_id", "ood": "val_ood"},
        rows=rows,
        claims=[
            Claim(student="RefKD", differences={"id": gain, "ood": gain}, verdict="unresolved")
        ],
        ablations={"w/o LR": gain},
        probes={"RefKD": probes()},
        floors={"id": {"constant": 29.5}, "ood": {"constant": 20.25}},
    )


@pytest.fixture
def result(scored: Scored) -> Result:
    return Result(
        experiment=experiments()["table3"],
        scored=scored,
        command="refkd reproduce table1 --dataset tiny",
        dataset="charades-cd-clip (58bc1679ba2c)",
        family="charades-cd",
        scale="small",
        seeds=3,
        caveats={"w/o LR": "reconstruction"},
        subset="3,720 of 16,128 annotated pairs have features",
        simulated=True,
        test_evaluations=["this is look 1"],
    )


def test_a_table_holds_ours_and_the_papers_and_says_what_they_are(result: Result) -> None:
    text = formats.markdown(result)
    body = [line for line in text.partition("## ")[0].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in body}) == 1
    assert "32.00 ± 1.00 [30.50, 33.50]" in text  # RefKD's
    assert "*65.49*" in text
    assert "| w/o LR (reconstruction) |" in text
    for part in (
        MEANING,
        "val_id (193 pairs)",
        "Subset: 3,720",
        "tIoU >= m",
        "unresolved",
        "look 1",
        "w/o LR - RefKD",
    ):
        assert part in text, part
    assert "ID 29.50; OOD 20.25" in text


def test_probes_stand_below_the_numbers(result: Result) -> None:
    row = "| RefKD | 40.00 | 20.00 | 20.00 | 20.00 | 30.00 | 15.00 | 15.00 | 15.00 | +10.00 |"
    assert row in formats.markdown(result).partition("## Bias probes")[2]


def test_programs_read_a_cell_a_row(result: Result) -> None:
    found = list(csv.DictReader(io.StringIO(formats.comma_separated(result))))
    assert len(found) == len(result.scored.rows) * 6
    one = next(r for r in found if r["system"] == "w/o LR" and r["metric"] == "miou")
    assert (one["side"], float(one["value"]), one["paper"]) == ("id", 33.0, "57.63")
    assert one["mark"] == "reconstruction"


def test_latex_has_as_many_cells_in_every_row(result: Result) -> None:
    text = formats.latex(result)
    counts = {line.count("&") for line in text.splitlines() if line.endswith("\\\\")}
    assert counts == {6}
    assert re.search(r"w/o LR \(reconstruction\) & \$33.00 \\pm 1.00\$", text)
