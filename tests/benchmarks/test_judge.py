"""How methods of search are judged on tables of learning curves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from support.project import ROOT

from benchmarks.baselines import primo
from benchmarks.bbob import EPOCHS as BBOB_EPOCHS
from benchmarks.bbob import FUNCTIONS, bbob_table
from benchmarks.judge import BASE, METHODS, RAY, Played, play, tables_in, told, verdict
from benchmarks.tables import read_table

EPOCHS = 6


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Two tables whose objectives pull apart along their first parameter, and grow by epoch."""
    draw = np.random.default_rng(0)
    for name in ("one", "two"):
        configs = np.column_stack([10 ** draw.uniform(-4, 0, 60), draw.uniform(0, 1, 60)])
        share = (np.log10(configs[:, 0]) + 4) / 4
        ends = np.column_stack([share * configs[:, 1], (1 - share) * configs[:, 1]])
        grown = 1 - np.exp(-np.arange(1, EPOCHS + 1) / 2)
        np.savez(
            tmp_path / f"{name}.npz",
            configs=configs,
            names=np.array(["rate", "size"]),
            scales=np.array(["log", "linear"]),
            objectives=np.array(["a", "b"]),
            curves=(ends[:, None] * grown[None, :, None]).astype(np.float32),
        )
    return tmp_path


def test_a_recorded_point_has_its_own_curve(tables: Path) -> None:
    table = read_table(tables / "one.npz")
    for row, config in enumerate(table.configs):
        curve = table.nearest(dict(zip(table.parameters, config.tolist(), strict=True)))
        assert list(curve.at(EPOCHS).values()) == table.curves[row, -1].tolist()
    assert [dimension.log for dimension in table.space.values()] == [True, False]


def test_regret_falls_to_nothing_once_all_is_seen(tables: Path) -> None:
    table = read_table(tables / "one.npz")
    points = [(n, row.tolist()) for n, row in enumerate(table.curves.reshape(-1, 2), 1)]
    regret = table.regret(points, len(points) + 5)
    assert (np.diff(regret) <= 0).all()
    assert regret[-1] == pytest.approx(0.0, abs=1e-9)
    assert table.regret([], 3).tolist() == [1.0, 1.0, 1.0]
    late = table.regret([(4, table.curves[0, -1].tolist())], 3)
    assert late.tolist() == [1.0, 1.0, 1.0], "beyond the budget"


@pytest.mark.parametrize("method", [*METHODS, RAY])
def test_a_search_is_played_the_same_way_twice(tables: Path, method: str) -> None:
    found = play(tables / "one.npz", method, 3)
    assert found == play(tables / "one.npz", method, 3)
    assert 0 <= found.regret[2] <= found.regret[1] <= found.regret[0] <= 1
    assert found.whole_area >= found.area or method == RAY


def test_functions_of_coco_become_curves_that_a_rung_can_see() -> None:
    """Their ends are ranks, which epochs approach: early ones tell much of them, and not all."""
    for function in FUNCTIONS:
        table = bbob_table(function)
        assert np.array_equal(table.curves, bbob_table(function).curves)
        ends = table.curves[:, -1]
        assert np.ptp(ends, axis=0) == pytest.approx([1.0, 1.0], abs=0.25)
        early, late = (
            [spearmanr(table.curves[:, epoch - 1, k], ends[:, k])[0] for k in range(2)]
            for epoch in (3, BBOB_EPOCHS // 2)
        )
        assert all(0.4 < a < 0.9 < b < 1.0 for a, b in zip(early, late, strict=True))
    found = play(FUNCTIONS[0], "random", 0)
    assert 0 < found.regret[2] <= found.regret[0] < 1


WORKER = """\
#!{python}
import json, sys
asked = json.loads(sys.stdin.readline())
assert (asked["epochs"], asked["seed"], asked["space"]["rate"][2]) == (6, 7, True)
plan, number, told = [2, 2, None, 6, 6, 2], 0, []
for line in sys.stdin:
    said = json.loads(line)
    if said is not None:
        told.append(said)
        assert said["losses"][0] <= 0
        continue
    if not plan and len(told) == number:
        break
    plan = plan or [None]
    epochs = plan.pop(0)
    if epochs is None:
        print("null", flush=True)
        continue
    number += 1
    before = told[0]["trial"] if epochs == 6 and number == 3 else None
    values = {{"rate": 0.1 * number, "size": 0.5}}
    answer = dict(trial=str(number), continues=before, epochs=epochs, values=values)
    print(json.dumps(answer), flush=True)
"""
"""Two trainings of 2 epochs, a wait, the first continued to 6, another of 6 and one of 2."""


def test_primo_takes_turns_and_trains_what_is_new(tables: Path) -> None:
    table = read_table(tables / "one.npz")
    python = tables / "python"
    python.write_text(WORKER.format(python=sys.executable), encoding="utf-8")
    python.chmod(0o755)
    search = primo.search(
        python, table.nearest, table.space,
        epochs=EPOCHS, first_rung=2, reduction=3, workers=3, seed=7,
    )  # fmt: skip
    found = list(islice(search, 16))
    assert sum(last for last, _ in found) == 2
    first, second, third = (
        table.nearest({"rate": 0.1 * n, "size": 0.5}).rows.tolist() for n in (1, 2, 3)
    )
    rows = [row for _, row in found]
    assert rows[:4] == [first[0], second[0], first[1], second[1]], "the third place waits"
    assert rows[4] == third[2], "its first two epochs were trained before"
    with pytest.raises(RuntimeError, match="NePS ended early"):
        list(search)


def played(method: str, area: float, table: str = "one") -> list[Played]:
    return [
        Played(
            table=table,
            method=method,
            seed=seed,
            area=area * (1 + seed / 10),
            whole_area=area,
            regret=(area, area, area),
            curve=[area] * 200,
            complete=3,
        )
        for seed in range(6)
    ]


def test_a_verdict_compares_with_asynchronous_halving() -> None:
    all_played = played("random", 0.4) + played(BASE, 0.2) + played("tpe", 0.1)
    base, best = verdict(BASE, all_played), verdict("tpe", all_played)
    assert (base.area, base.p, base.rank) == (1.0, 1.0, 2.0)
    assert (best.area, best.worst_table, best.rank) == (pytest.approx(0.5), best.area, 1.0)
    assert best.p < 0.05
    assert (best.share, verdict("random", all_played).share) == (0.0, 0.0)
    head, rule, first, second = told([base, best]).splitlines()
    assert first.startswith("| tpe ")
    assert second.split("|")[10].strip() == "", "it is not compared with itself"
    assert len({line.count("|") for line in (head, rule, first, second)}) == 1
    assert re.fullmatch(r"\| -+ \|( -+: \|){10}", rule)


def test_the_command_plays_a_folder_and_says_what_is_wrong(tables: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "front", "--tables", str(tables), "--json"]
    done = subprocess.run(
        [*command, "--seeds", "1", "--methods", "tpe/stop"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["method"] for row in rows] == ["random", BASE, "tpe/stop"]
    wrong = subprocess.run(
        [*command, "--methods", "luck"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert wrong.returncode != 0
    assert "no such method: luck; there are random, " in wrong.stderr
    lacking = subprocess.run(
        [*command, "--methods", "primo"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "primo needs an environment that has NePS" in lacking.stderr
    with pytest.raises(ValueError, match=r"holds no table \(\*\.npz\)"):
        tables_in(tables / "nowhere")
