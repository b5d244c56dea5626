"""Recipes as users write them: presets, switches over a preset, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from refkd.recipes import RecipeConfig
from refkd.recipes.config import PRESETS


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_is_its_switches(name: str) -> None:
    recipe = RecipeConfig.named(name)
    assert recipe.preset == name
    for switch, value in PRESETS[name].items():
        assert getattr(recipe, switch) == value
    written = recipe.model_dump(mode="json")
    assert RecipeConfig.model_validate(written) == recipe


@pytest.mark.parametrize("name", ["id", "none"])
def test_ordinary_presets_add_nothing(name: str) -> None:
    recipe = RecipeConfig.named(name)
    assert recipe.augment == "none"
    assert recipe.keep_original
    assert recipe.w_span_aug == recipe.w_match == recipe.w_kl == recipe.w_highlight_aug == 0


def test_the_papers_ood_teacher_moves_moments_and_adds_two_consistency_losses() -> None:
    recipe = RecipeConfig.named("refkd_text")
    assert (recipe.augment, recipe.p_aug, recipe.keep_original) == ("translate", 1.0, True)
    assert (recipe.w_span_aug, recipe.w_match, recipe.w_kl) == (1.0, 1.0, 1.0)
    assert recipe.kl_stop_grad == "none"
    assert recipe.w_highlight_aug == 0


def test_a_switch_beside_a_preset_wins() -> None:
    recipe = RecipeConfig.model_validate({"preset": "refkd_text", "w_kl": 0.25, "p_aug": 0.5})
    assert (recipe.w_kl, recipe.p_aug, recipe.w_match) == (0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "preset"),
        ({"preset": "nonsense"}, "preset"),
        ({"w_spam": 1.0}, "w_spam"),
        ({"augment": "truncate"}, "augment"),
        ({"p_aug": 1.5}, "p_aug"),
        ({"w_kl": -1.0}, "w_kl"),
        ({"kl_stop_grad": "both"}, "kl_stop_grad"),
        ({"w_span_aug": 1.0}, "w_span_aug needs a copy, but augment is none"),
        ({"w_kl": 1.0}, "w_kl needs a copy, but augment is none"),
        ({"w_highlight_aug": 1.0}, "w_highlight_aug needs a copy, but augment is none"),
        ({"preset": "refkd_text", "augment": "none"}, "needs a copy"),
        ({"keep_original": False}, "leaves pairs without a span loss"),
        ({"preset": "refkd_text", "keep_original": False, "p_aug": 0.9}, "set .* p_aug: 1"),
        ({"preset": "refkd_text", "keep_original": False, "w_span_aug": 0}, "w_span_aug above 0"),
        (3, "valid dictionary"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RecipeConfig.model_validate(given)


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RecipeConfig().w_kl = 1.0
