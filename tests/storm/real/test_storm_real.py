"""Real kills at random moments: each target and each phase in each run, 200 in a night."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from storm.real.kill_rules import differences, lost_epochs
from storm.real.kill_run import storm
from storm.real.kill_table import CELLS, PHASES, TARGETS, Target, draw, kill_in, shown

SEED = int(os.environ.get("REFKD_TEST_SEED", "0"))
COVERING: dict[str, tuple[Target, ...]] = {
    "first start": ("database",),
    "teachers": ("worker",),
    "students": ("driver", "gcs_server", "mlflow"),
    "growth": ("raylet",),
    "finalists": ("worker",),
    "look": ("group",),
    "promote": ("driver",),
    "sync": ("group",),
    "report": ("driver",),
    "reproduce": ("worker",),
    "prepare": ("driver",),
    "simulate": ("group",),
}
NIGHTLY = 200


def test_every_target_has_its_place_or_a_reason_in_every_phase() -> None:
    told = shown()
    for name, phase in PHASES.items():
        for target, reason in phase.without:
            assert (name, target) not in CELLS
            assert f"not {target}: {reason}" in told
        assert len(phase.without) == len(dict(phase.without))
    assert set(COVERING) == set(PHASES)
    assert {target for targets in COVERING.values() for target in targets} == set(TARGETS)


def test_a_seed_draws_the_same_kills_and_seeds_in_a_row_all_of_them() -> None:
    kills = [draw(seed) for seed in range(len(CELLS))]
    assert [draw(seed) for seed in range(len(CELLS))] == kills
    assert {(one.phase.name, one.target) for one in kills} == set(CELLS)


@pytest.mark.system
@pytest.mark.timeout(1800)
def test_each_target_and_each_phase_is_survived_at_a_random_moment() -> None:
    """The seed is another one in each run; it and the broken rule stand in what is printed."""
    seed = secrets.randbelow(1_000_000)
    print(f"seed {seed}")
    cells = [(phase, target) for phase, targets in COVERING.items() for target in targets]
    assert storm([kill_in(*cell, seed, most=1) for cell in cells]) == []


@pytest.mark.nightly
@pytest.mark.timeout(8 * 3600)
def test_two_hundred_kills_break_no_rule() -> None:
    """Each target in each phase twice, every time one to three kills in a row: 200 and more."""
    first = 2 * len(CELLS) * (SEED % 100_000)
    kills = [draw(seed) for seed in range(first, first + 2 * len(CELLS))]
    assert sum(len(one.moments) for one in kills) >= 200
    assert storm(kills) == []


def test_a_trial_may_lose_one_epoch_a_kill(tmp_path: Path) -> None:
    """The log of epochs names those that began; trial 0 began its second one three times."""
    (tmp_path / "epochs").write_text("0 1 7 a\n0 2 7 a\n1 1 8 a\n0 2 9 a\n0 2 9 a\n")
    assert list(lost_epochs(tmp_path / "epochs", kills=2)) == []
    assert list(lost_epochs(tmp_path / "epochs", kills=1)) == [
        "trial 0 lost 2 epochs by 1 kills: {1: 1, 2: 3}"
    ]


def test_results_that_differ_from_undisturbed_ones_are_named() -> None:
    calm = {"trials": [1, 2], "looks": (1,)}
    assert differences(calm, {"trials": [1, 2], "looks": [1]}) == []
    (named,) = differences(calm, {"trials": [1, 3], "looks": [1]})
    assert named.startswith("trials is not as undisturbed")
