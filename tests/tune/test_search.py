"""`refkd search` as a user runs it: real processes, from nothing to champions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.chaos import Workspace, assert_sound, copy_made, copy_whole
from support.chaos_hooks import Kill

from refkd.training.export import student_is_frozen
from tune.study.folders import seed_folder, trial_folder
from tune.study.locate import locate
from tune.study.racing import unpack
from tune.study.snapshot import read_summary

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),  # of MLflow's
]
TRIALS, EPOCHS = 12, 4
RATE, LAMBDA = "training.learning_rate", "distill.lambda_id"


def test_a_search_ends_with_champions_and_everything_agrees(calm: Workspace) -> None:
    assert_sound(calm, trials=TRIALS)
    views = calm.views()
    states = {v.state for v in views}
    assert states == {"COMPLETE", "PRUNED"}
    assert all(v.epoch == EPOCHS for v in views if v.state == "COMPLETE")
    summary = read_summary(calm.study)
    assert set(summary.champions) >= {"best-id", "best-ood"}
    assert set(summary.champions.values()) <= set(summary.front)
    assert set(calm.champions()) == set(summary.champions)
    assert set(summary.intervals["val_id"]) > {"teacher-id", "teacher-ood", "best-id"}
    own = summary.probes["best-ood"]["ood"]["own"]["miou"]
    assert own == pytest.approx(summary.intervals["val_ood"]["best-ood"]["miou"]["value"])
    assert set(summary.probes) == set(summary.intervals["val_id"]) - {"floors"}


def test_champions_are_registered_under_their_aliases(calm: Workspace) -> None:
    client = MlflowClient(locate(calm.study).tracking.reveal())
    (model,) = client.search_registered_models()
    summary = read_summary(calm.study)
    assert set(model.aliases) == set(summary.champions)
    for alias, number in summary.champions.items():
        version = client.get_model_version_by_alias(model.name, alias)
        assert version.tags["refkd.trial"] == str(number)


def test_status_and_best_print_json_alone(calm: Workspace) -> None:
    status = json.loads(calm.refkd("status", "--json").stdout)
    summary = read_summary(calm.study)
    assert status == json.loads(summary.model_dump_json())
    best = json.loads(calm.refkd("best", "--json").stdout)
    assert best["front"] == summary.front
    assert best["champions"] == summary.champions


def test_a_search_prints_nothing_that_others_wrote(calm: Workspace) -> None:
    lines = calm.said().splitlines()
    assert lines[0].startswith("simulating")
    foreign = (
        "Traceback",
        "WARNING",
        "Warning",
        "INFO",
        "ray",
        "[I ",
        "[W ",
        "optuna.",
        "mlflow.",
    )
    own = [line for line in lines if "backend-store-uri" not in line and "mlflow.db" not in line]
    assert [line for line in own if any(word in line for word in foreign)] == []


def test_running_it_again_does_nothing_new(calm: Workspace, tmp_path: Path) -> None:
    again = copy_whole(calm, tmp_path / "again")
    files = {path: path.stat().st_mtime_ns for path in again.runs.rglob("*.safetensors")}
    runs = {run.info.run_id for run in calm.mlflow()[1]}
    assert again.search() == 0, again.said()
    assert again.views() == calm.views()
    assert {path: path.stat().st_mtime_ns for path in again.runs.rglob("*.safetensors")} == files
    assert {run.info.run_id for run in again.mlflow()[1]} == runs
    assert again.said().startswith("Pareto front")
    assert again.refkd("doctor").returncode == 0


@pytest.fixture(scope="module")
def mixed(
    calm: Workspace, tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Workspace:
    """A search with replicates that pauses and promotes, where two points cannot be trained."""
    made = copy_made(calm, tmp_path_factory.mktemp("mixed") / "workspace", empty_store)
    rates = [1e-3, 1e30, 1e-3, 1e-3, 1e-3, 1e-3]
    made.write(
        space={RATE: {"choice": [1e-3, 1e30]}, LAMBDA: {"float": [0.01, 1.0]}},
        start_from=[{RATE: rate, LAMBDA: 0.1 * (i + 1)} for i, rate in enumerate(rates)],
        budget={"trials": len(rates)},
        replicates={"seeds": 2, "race": 1},
        pruning={"min_epochs": 1, "reduction": 2, "one_in": 2},
        workers=2,
    )
    for marker in ("worker", "retry"):
        made.hooks.append(
            Kill(
                module="refkd.training.checkpoint",
                name="CheckpointFolder.save",
                before=True,
                match="trials/0003",
                marker=str(made.folder / marker),
            )
        )
    assert made.search() == 0, made.said()
    return made


def test_replicates_are_trained_once_those_that_race_are_through(mixed: Workspace) -> None:
    assert_sound(mixed, trials=6)
    for v in mixed.views():
        assert ("sd/val_id/miou" in v.kept) == (v.state == "COMPLETE")
        folder = trial_folder(mixed.runs / "studies" / "quick", v.number)
        assert student_is_frozen(seed_folder(folder, 1)) == (v.state == "COMPLETE")


def test_promotion_resumes_the_best_from_their_checkpoints(mixed: Workspace) -> None:
    views = mixed.views()
    assert any(v.promotions for v in views)
    assert {v.state for v in views} == {"COMPLETE", "PRUNED", "FAIL"}
    assert all(v.epoch == EPOCHS for v in views if v.state == "COMPLETE")
    assert all(v.epoch < EPOCHS for v in views if v.state == "PRUNED")


def test_training_that_is_not_finite_fails_while_the_search_goes_on(mixed: Workspace) -> None:
    failed = mixed.views()[1]
    assert (failed.state, failed.values[RATE]) == ("FAIL", 1e30)
    assert "the loss is nan in epoch 1" in str(failed.reason)
    assert "the loss is nan in epoch 1" in mixed.refkd("status").stdout


def test_a_trial_whose_workers_die_fails_when_its_retries_are_used_up(mixed: Workspace) -> None:
    failed = [v for v in mixed.views() if v.state == "FAIL"]
    assert [v.number for v in failed] == [1, 3]
    assert "worker" in str(failed[1].reason)
    assert failed[1].attributes["attempt"] == 2


def test_trials_race_by_the_pairs_that_their_workers_report(
    calm: Workspace, tmp_path: Path, empty_store: Path
) -> None:
    made = copy_made(calm, tmp_path / "workspace", empty_store)
    race = {"name": "paired_racing", "probability": 0.4, "min_epochs": 1, "reduction": 2}
    made.write(pruning=race, budget={"trials": 6}, workers=2)
    assert made.search() == 0, made.said()
    assert_sound(made, trials=6)
    for v in made.views():
        assert set(v.scored) == set(v.decisions) == {1, 2} & set(v.curve)
        for epoch, scored in v.scored.items():
            for name in ("val_id/miou", "val_ood/miou"):
                means, pairs = unpack(scored[name])
                mean = 100 * means @ pairs / pairs.sum()
                assert mean == pytest.approx(v.curve[epoch][name], abs=0.05)


def test_a_finished_study_grows_in_trials_and_epochs(workspace: Workspace) -> None:
    small = {"budget": {"trials": 3}, "training": {"epochs": 2, "batch_size": 64}}
    workspace.write(**small, pruning={"name": "none"})
    assert workspace.search() == 0, workspace.said()
    before = workspace.views()
    assert [v.epoch for v in before] == [2] * 3
    grown = {"budget": {"trials": 4}, "training": {"epochs": 3, "batch_size": 64}}
    workspace.write(**grown, pruning={"name": "none"})
    assert workspace.search() == 0, workspace.said()
    views = workspace.views()
    assert views[:3] == before
    assert_sound(workspace, trials=7)
    continued = {v.attributes["continues"]: v for v in views if "continues" in v.attributes}
    assert sorted(continued) == [0, 1, 2]
    for number, v in continued.items():
        assert v.values == before[number].values
        assert list(v.curve) == [3]
    assert [v.epoch for v in views[3:]] == [3] * 4
    assert set(read_summary(workspace.study).front) <= set(range(3, 7))


def test_what_could_never_start_is_refused_before_a_trial_begins(workspace: Workspace) -> None:
    workspace.write(resources={"cpu": 4096})
    assert workspace.search() == 2
    assert "resources ask for cpu 4096 and gpu 0 on one machine" in workspace.said()
    assert workspace.views() == []
