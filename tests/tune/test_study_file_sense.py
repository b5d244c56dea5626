"""What a study file cannot mean is found when it is read: one line, with place, value, remedy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.project import ROOT
from support.recorded_curves import EPOCHS, TABLE, study_file

from refkd.data.dataset import Dataset
from refkd.data.simulate import SimulationConfig, simulate
from refkd.errors import RefKDError
from tune import search
from tune.config.study_file import StudyFileError, load_study_file
from tune.simulation.curves import write_curves
from tune.simulation.plan import make_plan
from tune.study.inputs import few_points, idle_workers

LAMBDA = {"distill.lambda_id": {"float": [0.01, 1.0], "log": True}}
WHOLE: dict[str, Any] = {
    "name": "sense",
    "dataset": "nowhere",
    "training": {"epochs": 6},
    "distill": {"warmup_epochs": 1},
    "space": LAMBDA,
}


def space(**dimensions: Any) -> dict[str, Any]:
    named = {key.replace("__", "."): dimension for key, dimension in dimensions.items()}
    return {"space": {**LAMBDA, **named}}


def pruned(name: str, **options: Any) -> dict[str, Any]:
    return {"objectives": ["val_id/miou"], "pruning": {"name": name, "options": options}}


def imported(role: str, **changes: Any) -> dict[str, Any]:
    return {"teachers": {role: {"from": "answers.npz"}}, **changes}


def tuned(**dimensions: Any) -> dict[str, Any]:
    tune = {"space": {k.replace("__", "."): d for k, d in dimensions.items()}}
    return {"teachers": {"id": {"recipe": "id", "tune": tune}}}


def written(folder: Path, changes: dict[str, Any]) -> Path:
    path = folder / "study.yaml"
    content = dict(WHOLE)
    for key, value in changes.items():
        content[key] = {**content[key], **value} if key in ("training", "distill") else value
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


WINDOW = {"float": [0.01, 0.2], "when": {"distill.rectification": "window"}}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    (pruned("median", n_startup=3), "pruning.options.n_startup", "mean 'n_startup_trials'"),
    (pruned("median", n_startup_trials="many"), "pruning.options.n_startup_trials", "'many'"),
    (pruned("median", n_startup_trials=2.5), "pruning.options.n_startup_trials", "not 2.5"),
    (pruned("median", n_startup_trials=True), "pruning.options.n_startup_trials", "not true"),
    (pruned("median", n_startup_trials=-1), "pruning.options", "cannot be negative"),
    (pruned("median", interval_steps=0), "pruning.options", "at least 1"),
    (pruned("percentile", percentile=150), "pruning.options", "between 0 and 100"),
    (pruned("percentile", percentile="x"), "pruning.options.percentile", "a number, not 'x'"),
    (pruned("percentile", percentile=math.nan), "pruning.options.percentile", "finite"),
    (pruned("successive_halving", bootstrap_count=1.5), "pruning.options.bootstrap_count", "1.5"),
    (pruned("successive_halving", min_early_stopping_rate=-1), "pruning.options", "-1"),
    (pruned("successive_halving", reduction_factor=1), "pruning.options.reduction_factor", "2"),
    (pruned("hyperband", reduction_factor=1), "pruning.options.reduction_factor", "at least 2"),
    (pruned("hyperband", max_resource=1), "pruning.options.max_resource", "below min_resource=2"),
    (pruned("hyperband", max_resource="all"), "pruning.options", "max_resource = all"),
    ({"pruning": {"min_epochs": 6}}, "pruning.min_epochs", "not below training.epochs=6"),
    ({"pruning": {"min_epochs": 60}}, "pruning.min_epochs", "not below training.epochs=6"),
    ({"pruning": {"reduction": 1}}, "pruning.reduction", "greater than or equal to 2, not 1"),
    ({"pruning": {"name": "median"}}, "pruning.name", "one objective only"),
    (
        {"pruning": {"name": "paired_racing"}, "objectives": ["val_id/miou", "val_id/r1_iou0.5"]},
        "pruning.name",
        "val_id/r1_iou0.5 is no mean of it; race by val_id/miou, val_ood/miou",
    ),
    (
        {
            "pruning": {"name": "paired_racing"},
            "objectives": ["model/parameters"],
            "minimize": ["model/parameters"],
        },
        "pruning.name",
        "no objective is a mean of it",
    ),
    (
        {"pruning": {"name": "paired_racing", "type": "promote"}},
        "pruning",
        "type: promote goes with name: pareto_halving, not paired_racing",
    ),
    ({"pruning": {"probability": 0.2}}, "pruning", "goes with name: paired_racing, not pareto"),
    (pruned("paired_racing", x=1), "pruning", "options belong to a pruner of Optuna's"),
    (
        {"pruning": {"name": "paired_racing", "probability": 1.0}},
        "pruning.probability",
        "less than 1",
    ),
    (
        space(backbone__hidden={"choice": [64, 96]}, backbone__heads={"choice": [8, 12]}),
        "space.backbone.heads",
        "hidden=64 is not divisible by heads=12",
    ),
    (
        space(
            backbone__hidden={"int": [48, 96], "step": 8},
            backbone__heads={"choice": [8, 12, 16]},
        ),
        "space.backbone.heads",
        "backbone.hidden=56, backbone.heads=12 can be drawn",
    ),
    (space(backbone__hidden={"int": [32, 64]}), "space.backbone.hidden", "hidden=33"),
    (space(backbone__heads={"int": [1, 8]}), "space.backbone.heads", "heads=3"),
    (space(backbone__hidden={"int": [8, 8192]}), "space.backbone.hidden", "not divisible"),
    (space(backbone__hidden={"float": [64, 128]}), "space.backbone.hidden", "whole number"),
    (space(training__batch_size={"float": [8, 64]}), "space.training.batch_size", "not 8.0"),
    (space(training__batch_size={"choice": [8, 16.0]}), "space.training.batch_size", "not 16.0"),
    (space(training__batch_size={"choice": ["16", 8]}), "space.training.batch_size", "not '16'"),
    (space(training__batch_size={"choice": [True, 8]}), "space.training.batch_size", "not true"),
    (space(distill__lambda_ood={"choice": [True, 0.5]}), "space.distill.lambda_ood", "not true"),
    (space(distill__lambda_ood={"choice": [None, 0.5]}), "space.distill.lambda_ood", "number"),
    (space(distill__lambda_ood={"float": [-0.1, 1]}), "space.distill.lambda_ood", "equal to 0"),
    (
        space(distill__lambda_ood={"choice": [1, 1.0]}),
        "space.distill.lambda_ood.choice.1",
        "twice",
    ),
    (space(distill__rho={"choice": ["clips", "clips"]}), "space.distill.rho.choice.1", "twice"),
    (space(distill__rho={"choice": ["minutes"]}), "space.distill.rho", "not 'minutes'"),
    (space(distill__rho={"choice": [["clips"]]}), "space.distill.rho.choice.0", "give a number"),
    (space(distill__rho={"choice": []}), "space.distill.rho.choice", "at least 1 item"),
    (space(distill__reweighting={"int": [0, 1]}), "space.distill.reweighting", "true or false"),
    (space(backbone__dropout={"float": [0.1, 1.5]}), "space.backbone.dropout", "less than 1"),
    (space(training__epochs={"int": [2, 6]}), "space.training.epochs", "the same epochs"),
    (space(distill__warmup_epochs={"int": [0, 9]}), "space.distill.warmup_epochs", "can be 9"),
    (space(distill__lambda={"float": [0, 1]}), "space.distill.lambda", "did you mean"),
    (space(backbone__name={"choice": ["vslnet", "seqpan"]}), "space.backbone.name", "not valid"),
    (space(distill__window__tau=WINDOW), "space.distill.window.tau.when", "fixed to 'mixed'"),
    (
        space(distill__rectification={"choice": ["mixed"]}, distill__window__tau=WINDOW),
        "space.distill.window.tau.when",
        "its range holds none",
    ),
    (
        space(distill__window__tau={**WINDOW, "when": {"distill.rectification": []}}),
        "space.distill.window.tau",
        "an empty list never holds",
    ),
    ({"space": {"distill.lambda_id": {"float": [0, 1], "log": True}}}, "space.distill", "above 0"),
    ({"space": {"distill.lambda_id": {"float": [1, 0.1]}}}, "space.distill", "is empty"),
    ({"space": {"distill.lambda_id": {"float": ["0.1", 1]}}}, "space.distill", "not '0.1'"),
    ({"space": {"distill.lambda_id": {"float": [0.1, math.inf]}}}, "space.distill", "finite"),
    ({"space": {"distill.lambda_id": {"float": [0.1, 1], "log": 1}}}, "space.distill", "not 1"),
    (space(training__batch_size={"int": [8.0, 64]}), "space.training.batch_size.int.0", "not 8.0"),
    (
        space(training__batch_size={"int": [8, 64], "step": 0}),
        "space.training.batch_size.step",
        "greater than 0, not 0",
    ),
    ({"budget": {"money": 5}}, "budget.money", "give prices.cpu_hour"),
    (imported("id", distill={"student_init": "id_teacher"}), "distill.student_init", "the ID t"),
    (imported("ood", distill={"teacher_cache": "off"}), "distill.teacher_cache", "the OOD teach"),
    (
        imported("id", **space(distill__student_init={"choice": ["scratch", "id_teacher"]})),
        "space.distill.student_init",
        "is imported and has none",
    ),
    ({"teachers": {"ood": {"from": 3}}}, "teachers.ood.from", "path"),
    ({"teachers": {"ood": {"from": "a.npz", "recipe": "id"}}}, "teachers.ood", "has no recipe"),
    ({"teachers": {"ood": {"frm": "a.npz", "recipe": "id"}}}, "teachers.ood.frm", "no such key"),
    ({"budget": {"money": 5}, "prices": {"gpu_hour": 2}}, "budget.money", "give prices.cpu_hour"),
    ({"budget": {"money": 5}, "prices": {"node_hour": {"a": 2}}}, "budget.money", "has a price"),
    ({"budget": {"trainings": 5, "epochs": 9}}, "budget.trainings", "give one of them"),
    ({"budget": {"trainings": 17}}, "budget.trainings", "trials=16 have 16 at most; raise trials"),
    ({"budget": {"trainings": 0}}, "budget.trainings", "greater than or equal to 1"),
    ({"budget": {"gpu_hours": 5}}, "budget.gpu_hours", "resources.gpu is 0"),
    ({"budget": {"trials": "8"}}, "budget.trials", "a whole number, not '8'"),
    ({"budget": {"patience": True}}, "budget.patience", "a whole number, not true"),
    ({"training": {"epochs": True}}, "training.epochs", "a whole number, not true"),
    ({"training": {"epochs": 6.0}}, "training.epochs", "a whole number, not 6.0"),
    ({"distill": {"lambda_id": "0.1"}}, "distill.lambda_id", "a number, not '0.1'"),
    ({"distill": {"reweighting": 1}}, "distill.reweighting", "true or false, not 1"),
    ({"backbone": {"hidden": 60, "heads": 8}}, "backbone", "not divisible"),
    ({"backbone": {"heads": True}}, "backbone.heads", "a whole number, not true"),
    ({"workers": 0}, "workers", "greater than or equal to 1, not 0"),
    ({"workers": True}, "workers", "a whole number, not true"),
    ({"seed": -1}, "seed", "equal to 0, not -1"),
    ({"seed": 2**40}, "seed", "less than 4294967296"),
    ({"teachers": {"ood": {"recipe": "id", "seed": -1}}}, "teachers.ood.seed", "equal to 0"),
    (
        {"teachers": {"id": {"recipe": "id", "training": {"epochs": True}}}},
        "teachers.id.training.epochs",
        "a whole number, not true",
    ),
    (
        {"teachers": {"id": {"recipe": "id", "training": {"epoch": 3}}}},
        "teachers.id.training.epoch",
        "did you mean 'epochs'",
    ),
    (tuned(backbone__hidden={"int": [32, 64]}), "teachers.id.tune.space", "hidden=33"),
    (tuned(training__batch_size={"float": [8, 64]}), "teachers.id.tune.space", "not 8.0"),
    (tuned(recipe__speed={"float": [0, 1]}), "teachers.id.tune.space", "no key of a teacher"),
    ({"sampler": {"startup_trials": True}}, "sampler.startup_trials", "not true"),
    ({"sampler": {"n_startup_trials": 3}}, "sampler.n_startup_trials", "no such key"),
    ({"sampler": {"name": "cmaes"}}, "sampler.name", "'tpe'"),
    ({"sampler": {"constant_liar": "yes"}}, "sampler.constant_liar", "true or false"),
    ({"tracking": {"enabled": "no"}}, "tracking.enabled", "true or false, not 'no'"),
    ({"resources": {"gpu": 1.5}}, "resources", "a share of one GPU"),
    ({"resources": {"cpu": 1e-9}}, "resources", "give more"),
    ({"replicates": {"race": 2}}, "replicates", "more than seeds=1"),
    ({"constraints": [{"metric": "val_id/miou", "at_least": 200}]}, "constraints.0", "not 200"),
    (
        {"constraints": [{"metric": "val_id/miou", "at_least": 20, "within": 3}]},
        "constraints.0",
        "below a teacher",
    ),
    ({"start_from": [{"distill.lambda_id": 5}]}, "start_from.0", "outside [0.01, 1.0]"),
    ({"start_from": [{"distill.lambda_ie": 0.1}]}, "start_from.0", "did you mean"),
    (
        {
            **space(
                distill__rectification={"choice": ["mixed", "window"]},
                distill__window__tau=WINDOW,
            ),
            "start_from": [{"distill.rectification": "mixed", "distill.window.tau": 0.1}],
        },
        "start_from.0.distill.window.tau",
        "not in use",
    ),
    ({"warm_start": {"studies": ["gone.yaml"]}}, "warm_start.studies.0", "does not exist"),
    ({"objectives": ["val_id/miou"] * 2}, "objectives", "names a metric twice"),
    ({"objectives": ["test_ood/miou"]}, "objectives.0", "of a test role, which no search sees"),
    ({"objectives": ["val_ood/map"]}, "objectives.0", "did you mean 'val_ood/map_"),
    ({"objectives": ["speed"]}, "objectives.0", "or val/harmonic_miou, model/parameters, cost/"),
    ({"constraints": [{"metric": "model/parameters", "at_least": 1}]}, "constraints.0", "map_avg"),
    ({"minimize": ["cost/cpu_seconds"]}, "minimize.0", "cost/cpu_seconds is no objective"),
    ({"simulate": {"min_clips": 20, "max_clips": 10}}, "simulate", "above max_clips"),
    ({"simulate": {"videos": 40.0}}, "simulate.videos", "a whole number, not 40.0"),
]


@pytest.mark.parametrize(("changes", "place", "fault"), WRONG, ids=str)
def test_a_mistake_is_one_line_with_place_and_remedy(
    tmp_path: Path, changes: dict[str, Any], place: str, fault: str
) -> None:
    path = written(tmp_path, changes)
    with pytest.raises(StudyFileError) as caught:
        load_study_file(path)
    first, *more = str(caught.value).split("\n")
    assert not more
    _, _, said = first.removeprefix(f"{path}:").partition(": ")
    assert said.startswith(place)
    assert fault in said
    assert "Value error" not in said


@pytest.mark.parametrize("key", ["tracking", "budget", "workers", "name", "space"])
def test_no_fault_shows_a_password(tmp_path: Path, key: str) -> None:
    url = f"postgresql://ann:{'secret' * 9}@host/studies"
    with pytest.raises(StudyFileError) as caught:
        load_study_file(written(tmp_path, {key: url}))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"pruning": {"min_epochs": 6, "name": "none"}},
        {"training": {"epochs": 1}},  # the default min_epochs is not asked for
        {"budget": {"money": 5}, "prices": {"cpu_hour": 0.1}},
        {"budget": {"money": 5}, "prices": {"gpu_hour": 2}, "resources": {"gpu": 0.5}},
        pruned("median", n_startup_trials=3, interval_steps=2),
        pruned("percentile", percentile=25),
        pruned("successive_halving", min_resource="auto"),
        pruned("hyperband", max_resource="auto"),
        space(backbone__hidden={"int": [32, 128], "step": 32}),
        space(backbone__hidden={"choice": [48, 96]}, backbone__heads={"choice": [4, 8, 12]}),
        space(
            backbone__heads={"choice": [8, 12]},
            backbone__hidden={"choice": [120, 60], "when": {"backbone.heads": 12}},
        )
        | {"backbone": {"hidden": 64, "heads": 8}},
        space(distill__lambda_ood={"float": [0, 1]}, training__batch_size={"int": [8, 64]}),
        space(
            distill__rectification={"choice": ["mixed", "window"]},
            distill__window__tau=WINDOW,
        ),
        {"distill": {"lambda_id": 1}},
    ],
    ids=str,
)
def test_what_can_be_meant_is_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert load_study_file(written(tmp_path, changes)).name == "sense"


@given(hidden=st.integers(1, 40), step=st.integers(1, 9), width=st.integers(0, 60), data=st.data())
def test_every_drawn_network_can_be_built_or_the_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    hidden: int,
    step: int,
    width: int,
    data: st.DataObject,
) -> None:
    heads = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True))
    changes = space(
        backbone__hidden={"int": [hidden, hidden + width], "step": step},
        backbone__heads={"choice": heads},
    )
    drawn = range(hidden, hidden + width + 1, step)
    possible = all(h % n == 0 for h in drawn for n in heads)
    path = written(tmp_path_factory.getbasetemp(), changes)
    if possible:
        load_study_file(path)
    else:
        with pytest.raises(StudyFileError, match="not divisible"):
            load_study_file(path)


SIMULATION = {"videos": 40, "queries": 1, "feature_dim": 4, "word_dim": 4}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("simulated") / "dataset"
    return simulate(out=folder, config=SimulationConfig(**SIMULATION))


def test_a_dataset_that_was_simulated_otherwise_is_no_launch(
    tmp_path: Path, simulated: Dataset
) -> None:
    settings = {**SIMULATION, "signal": 0.5}
    path = written(
        tmp_path,
        {
            "dataset": str(simulated.path),
            "simulate": settings,
            "workspace": str(tmp_path / "runs"),
        },
    )
    said = "was simulated with signal=1.0, the study file's simulate.signal is 0.5"
    with pytest.raises(RefKDError, match=said):
        search(path)
    with pytest.raises(RefKDError, match=said):
        make_plan(path, load_study_file(path))
    assert not (tmp_path / "runs").exists()


def test_a_dataset_that_was_prepared_is_not_simulated(
    tmp_path: Path, simulated: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = simulated.manifest.model_copy(update={"simulation": None})
    monkeypatch.setattr("refkd.data.dataset.read_manifest", lambda folder: prepared)
    path = written(tmp_path, {"dataset": str(simulated.path), "simulate": SIMULATION})
    with pytest.raises(RefKDError, match="is no simulated dataset"):
        search(path)


def test_a_study_to_begin_from_without_a_point_is_no_launch(
    tmp_path: Path, simulated: Dataset
) -> None:
    (tmp_path / "other.yaml").write_text("name: other\n", encoding="utf-8")
    path = written(
        tmp_path,
        {
            "dataset": str(simulated.path),
            "workspace": str(tmp_path / "runs"),
            "warm_start": {"studies": [str(tmp_path / "other.yaml")]},
        },
    )
    with pytest.raises(RefKDError, match="'other' has not been begun"):
        search(path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("workers", "cpu", "trials", "said"),
    [
        (4, 1.0, 30, None),
        (5, 1.0, 30, "at most 4 ever run: this machine has 4 cores"),
        (2, 4.0, 30, "at most 1 ever run"),
        (8, 0.5, 30, None),
        (4, 1.0, 3, "at most 3 ever run: there are no more trials"),
    ],
)
def test_workers_that_can_never_run_are_said(
    workers: int, cpu: float, trials: int, said: str | None
) -> None:
    file = study_file(workers=workers, resources={"cpu": cpu}, budget={"trials": trials})
    found = idle_workers(file, 4)
    assert found is None if said is None else said in str(found)


def test_a_space_of_fewer_points_than_trials_is_said() -> None:
    few = {"distill.warmup_epochs": {"int": [1, 3]}}
    file = study_file(space=few, budget={"trials": 4})
    assert "the space has 3 points, so the search ends after 3 of 4 trials" in str(
        few_points(file)
    )
    assert file.search_spec().budget.trials == 3
    assert few_points(study_file(space=few, budget={"trials": 3})) is None
    again = study_file(space=few, budget={"trials": 4}, sampler={"repeat": True})
    assert few_points(again) is None
    assert again.search_spec().budget.trials == 4


def test_a_plan_needs_no_dataset_where_it_has_curves(tmp_path: Path) -> None:
    write_curves(TABLE, tmp_path / "curves.json")
    path = written(tmp_path, {"training": {"epochs": EPOCHS}})
    assert make_plan(path, load_study_file(path), curves=tmp_path / "curves.json").epochs.mean > 0


def test_every_study_file_that_is_shipped_can_be_meant() -> None:
    for path in sorted((ROOT / "studies").glob("*.yaml")):
        load_study_file(path)
