"""Teachers alone, and the search of their own hyperparameters: real Ray, real storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.recipes import RecipeConfig
from refkd.training.teacher import find_teacher
from tune.config.space import flat, suggest
from tune.config.study_file import StudyFile, StudyFileError, load_study_file
from tune.config.tuning import tuned
from tune.display.console import make_console
from tune.display.study import show_tuned
from tune.execution.progress import Reporter
from tune.execution.study_jobs import StudyJobs
from tune.study.locate import place_of
from tune.study.storage import open_storage
from tune.teach import VALUES, train_teachers, tune_teacher

SPACE: dict[str, Any] = {
    "recipe.w_kl": {"float": [0.1, 3.0], "log": True},
    "training.learning_rate": {"float": [1e-3, 1e-2], "log": True},
}


def study(
    folder: Path,
    dataset: Dataset,
    *,
    trials: int = 3,
    space: dict[str, Any] | None = None,
    recipe: Any = "refkd_text",
) -> StudyFile:
    content = {
        "name": "quick",
        "dataset": str(dataset.path),
        "workspace": str(folder / "runs"),
        "backbone": {"hidden": 8, "heads": 2},
        "training": {"epochs": 2, "batch_size": 64},
        "distill": {"warmup_epochs": 1},
        "teachers": {
            "ood": {"recipe": recipe, "tune": {"space": space or SPACE, "trials": trials}}
        },
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
        "sampler": {"name": "curves"},  # of the search: teachers in tuning have none
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_study_file(path)


def held_study(file: StudyFile) -> optuna.Study:
    storage = open_storage(place_of(file).storage)
    return optuna.load_study(study_name="quick-teacher-ood", storage=storage)


def test_teachers_are_trained_where_a_search_looks_for_them(
    tiny_dataset: Dataset, tmp_path: Path, ray_address: str
) -> None:
    file = study(tmp_path, tiny_dataset)
    taught = train_teachers(file, address=ray_address, reporter=Reporter())
    jobs = StudyJobs(file, tiny_dataset, teacher_epochs=2)
    assert {role: one.folder for role, one in taught.items()} == jobs.teacher_folders
    stamps = [(p, p.stat().st_mtime_ns) for p in sorted(tmp_path.rglob("*.safetensors"))]
    assert len(stamps) == 2
    assert train_teachers(file, address=ray_address, reporter=Reporter()) == taught
    assert [(p, p.stat().st_mtime_ns) for p in sorted(tmp_path.rglob("*.safetensors"))] == stamps


def test_tuning_ends_with_the_best_teacher(
    tiny_dataset: Dataset,
    tmp_path: Path,
    ray_address: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = study(tmp_path, tiny_dataset, trials=2)
    tuned = tune_teacher(file, "ood", address=ray_address, reporter=Reporter())
    trials = held_study(file).get_trials()
    assert [t.state.name for t in trials] == ["COMPLETE"] * 2
    assert tuned.scores == [t.value for t in trials]
    best = max(trials, key=lambda t: float(t.value or 0.0))
    assert tuned.values == best.user_attrs[VALUES]
    teacher = find_teacher(tuned.best.folder)
    assert teacher is not None
    assert teacher.record.metrics["val_ood/miou"] == best.value
    assert teacher.record.recipe.w_kl == tuned.values["recipe.w_kl"]
    show_tuned(make_console(), tuned)
    pasted = yaml.safe_load(capsys.readouterr().out.split("study file:")[1])
    assert pasted["teachers"]["ood"]["recipe"] == {
        "preset": "refkd_text",
        "w_kl": tuned.values["recipe.w_kl"],
    }


def test_tuning_goes_on_where_it_was_cut_off(
    tiny_dataset: Dataset, tmp_path: Path, ray_address: str
) -> None:
    """Killed after a trial's values were stored, and before: one goes on, the other has failed."""
    file = study(tmp_path, tiny_dataset, trials=3)
    kept = {"recipe.w_kl": 1.5, "training.learning_rate": 5e-3}
    cut_off = {"recipe.w_kl": 0.5, "training.learning_rate": 2e-3}
    storage = open_storage(place_of(file).storage)
    begun = optuna.create_study(
        study_name="quick-teacher-ood", storage=storage, direction="maximize"
    )
    whole = begun.ask()
    whole.set_user_attr(VALUES, kept)
    begun.tell(whole, 0.0)
    begun.ask().set_user_attr(VALUES, cut_off)
    begun.ask()
    before = begun.get_trials()
    tune_teacher(
        study(tmp_path, tiny_dataset, trials=4), "ood", address=ray_address, reporter=Reporter()
    )
    after = held_study(file).get_trials()
    assert [t.state.name for t in after] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE"]
    assert after[0] == before[0]
    address = tuned(file.teacher_config("ood"), cut_off).address(tiny_dataset)
    assert find_teacher(tmp_path / "runs" / "teachers" / address)


def test_a_teacher_without_a_space_cannot_be_tuned(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(RefKDError, match=r"teachers\.id\.tune is missing"):
        tune_teacher(study(tmp_path, tiny_dataset), "id", address=None, reporter=Reporter())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"recipe.w_kll": {"float": [0.1, 1.0]}}, "did you mean 'recipe.w_kl'"),
        ({"training.learning_rate": {"float": [-1.0, 1.0]}}, "greater than 0"),
        ({"distill.lambda_id": {"float": [0.1, 1.0]}}, "no key of a teacher"),
        ({"recipe.oracle": {"choice": [False, True]}}, "an oracle learns of the pairs"),
        ({"recipe.preset": {"choice": ["hao2022", "oracle"]}}, "every result of it leaks"),
        ({"recipe.augment": {"choice": ["translate", "none"]}}, "needs a copy"),
        (
            {
                "recipe.w_kl": {"float": [0.1, 1.0], "when": {"recipe.augment": "translate"}},
                "recipe.augment": {"choice": ["translate", "truncate"]},
            },
            "neither fixed nor listed above",
        ),
    ],
)
def test_a_space_that_no_teacher_fits_is_refused_by_name(
    space: dict[str, Any], message: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(StudyFileError, match=message):
        study(tmp_path, tiny_dataset, space=space)


SWITCHES: dict[str, Any] = {
    "recipe.augment": {
        "choice": ["none", "translate", "truncate", "translate+truncate", "shift_pad"]
    },
    "recipe.w_span_aug": {
        "float": [0.1, 2.0],
        "when": {"recipe.augment": ["translate", "truncate", "translate+truncate", "shift_pad"]},
    },
    "recipe.w_kl": {
        "float": [0.1, 2.0],
        "when": {"recipe.augment": ["translate", "translate+truncate"]},
    },
    "recipe.w_ord": {
        "float": [0.0, 1.0],
        "when": {"recipe.augment": ["translate", "translate+truncate"]},
    },
    "recipe.bias_branch": {"choice": ["off", "rubi", "poe", "learned_mixin", "counterfactual"]},
    "recipe.w_entropy": {"float": [0.0, 1.0], "when": {"recipe.bias_branch": "learned_mixin"}},
}


def test_every_switch_behind_the_teachers_can_be_searched_together(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = study(tmp_path, tiny_dataset, space=SWITCHES, recipe="none")
    tuning = file.teachers.ood.tune
    assert tuning is not None
    fixed = flat(file.teacher_config("ood").model_dump(mode="json"))
    drawn = [suggest(tuning.space, optuna.create_study().ask(), fixed) for _ in range(60)]
    recipes = [tuned(file.teacher_config("ood"), values).recipe for values in drawn]
    assert {r.augment for r in recipes} == set(SWITCHES["recipe.augment"]["choice"])
    assert {r.bias_branch for r in recipes} == set(SWITCHES["recipe.bias_branch"]["choice"])
    assert all((r.w_kl > 0) == ("translate" in r.augment) for r in recipes)


def test_another_preset_brings_its_own_switches_and_keeps_what_the_recipe_changed(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    space = {"recipe.preset": {"choice": ["hao2022", "refkd_text", "combined"]}}
    file = study(
        tmp_path, tiny_dataset, space=space, recipe={"preset": "refkd_text", "w_match": 0.5}
    )
    for name in space["recipe.preset"]["choice"]:
        found = tuned(file.teacher_config("ood"), {"recipe.preset": name}).recipe
        assert found == RecipeConfig.model_validate({"preset": name, "w_match": 0.5})
