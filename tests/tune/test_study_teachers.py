"""Teachers in a study file: recipes by name, and one clear line about a wrong one."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tune.config.study_file import StudyFile


def study(recipe: Any) -> StudyFile:
    return StudyFile.model_validate(
        {
            "name": "teachers",
            "dataset": "data",
            "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
            "distill": {"warmup_epochs": 5},
            "teachers": {"ood": {"recipe": recipe}},
        }
    )


@pytest.mark.parametrize("name", ["none", "hao2022", "refkd_text", "zhang2021b", "combined"])
def test_a_study_takes_every_recipe_by_name(name: str) -> None:
    assert study(name).teacher_config("ood").recipe.preset == name


def test_an_oracle_must_be_asked_for() -> None:
    with pytest.raises(ValidationError, match="every result of it leaks; write oracle: true"):
        study("oracle")
    assert study({"preset": "oracle", "oracle": True}).teacher_config("ood").recipe.oracle


def test_a_recipe_that_the_backbone_cannot_follow_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("refkd.recipes.network.is_student", lambda _: False)
    with pytest.raises(ValidationError) as caught:
        study("hao2022")
    (fault,) = caught.value.errors()
    assert fault["msg"].startswith("Value error, teachers.ood: recipe.w_ord: 1.0 needs a backbone")
    assert "\n" not in fault["msg"]
