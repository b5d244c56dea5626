"""Recipes as users write them: presets, switches over a preset, and what is refused."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from refkd.recipes import RecipeConfig
from refkd.recipes.presets import PRESETS, Preset

SWITCHES = (
    "augment",
    "w_span_aug",
    "w_match",
    "w_kl",
    "w_ord",
    "w_highlight_aug",
    "bias_branch",
    "trained_on",
)
TABLE = {
    "id": ("none", 0, 0, 0, 0, 0, "off", "fit"),
    "none": ("none", 0, 0, 0, 0, 0, "off", "fit"),
    "hao2022": ("translate", 0, 1, 1, 1, 0, "off", "fit"),
    "refkd_text": ("translate", 1, 1, 1, 0, 0, "off", "fit"),
    "zhang2021b": ("truncate", 1, 0, 0, 0, 0, "rubi", "fit"),
    "combined": ("translate+truncate", 1, 1, 1, 1, 0, "rubi", "fit"),
    "oracle": ("none", 0, 0, 0, 0, 0, "off", "val_ood"),
}
ORACLE = {"preset": "oracle", "oracle": True}


def named(name: str) -> RecipeConfig:
    return RecipeConfig.model_validate(ORACLE if name == "oracle" else name)


@pytest.mark.parametrize("name", get_args(Preset))
def test_a_preset_is_its_switches(name: str) -> None:
    recipe = named(name)
    assert recipe.preset == name
    assert tuple(getattr(recipe, switch) for switch in SWITCHES) == TABLE[name]
    assert (recipe.p_aug, recipe.copies, recipe.keep_original) == (1.0, 1, True)
    assert recipe.kl_stop_grad == "none"
    assert RecipeConfig.model_validate(recipe.model_dump(mode="json")) == recipe


def test_every_preset_is_described() -> None:
    assert set(PRESETS) == set(get_args(Preset)) == set(TABLE)


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ("id", "id"),
        ("hao2022", "hao2022"),
        ("refkd_text", "refkd_text"),
        ("zhang2021b", "zhang2021b (reconstruction)"),
        ("combined", "combined (reconstruction)"),
        (ORACLE, "oracle (leakage)"),
        ({"preset": "refkd_text", "w_kl": 0.5}, "refkd_text (changed)"),
        ({"preset": "refkd_text", "w_kl": 1.0}, "refkd_text"),
        ({"preset": "refkd_text", "oracle": True}, "refkd_text (leakage)"),
        ({"bias_branch": "poe"}, "id (reconstruction, changed)"),
        ({"preset": "zhang2021b", "gamma": 0.5}, "zhang2021b (reconstruction, changed)"),
    ],
    ids=str,
)
def test_a_label_says_what_a_table_must(given: Any, label: str) -> None:
    assert RecipeConfig.model_validate(given).label == label


def test_every_switch_can_be_set_by_a_key() -> None:
    """A search puts plain values at dotted keys, so nothing is nested."""
    for name, field in RecipeConfig.model_fields.items():
        assert isinstance(field.default, bool | int | float | str), name


def test_a_switch_beside_a_preset_wins() -> None:
    recipe = RecipeConfig.model_validate({"preset": "refkd_text", "w_kl": 0.25, "p_aug": 0.5})
    assert (recipe.w_kl, recipe.p_aug, recipe.w_match) == (0.25, 0.5, 1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nonsense", "preset"),
        ({"preset": "nonsense"}, "preset"),
        ({"w_spam": 1.0}, "w_spam"),
        ({"augment": "shuffle"}, "augment"),
        ({"p_aug": 1.5}, "p_aug"),
        ({"w_kl": -1.0}, "w_kl"),
        ({"kl_stop_grad": "both"}, "kl_stop_grad"),
        ({"w_span_aug": 1.0}, "w_span_aug needs a copy, but augment is none"),
        ({"w_kl": 1.0}, "w_kl needs a copy, but augment is none"),
        ({"w_highlight_aug": 1.0}, "w_highlight_aug needs a copy, but augment is none"),
        ({"preset": "refkd_text", "augment": "none"}, "needs a copy"),
        ({"w_ord": 1.0}, "w_ord needs a copy, but augment is none"),
        ({"preset": "zhang2021b", "w_ord": 1.0}, "moved, but augment is truncate"),
        ({"augment": "translate", "copies": 3}, "copies"),
        ({"gamma": 1.5}, "gamma"),
        ({"bias_branch": "rub"}, "bias_branch"),
        ({"alpha_v": -1.0}, "alpha_v"),
        ("oracle", "every result of it leaks; write oracle: true"),
        ({"preset": "oracle", "oracle": False}, "write oracle: true"),
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
