"""Recipes: the switches that make an ordinary network a teacher, and their presets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from refkd.config import Config

PRESETS: dict[str, dict[str, Any]] = {
    "id": {},
    "none": {},
    "refkd_text": {"augment": "translate", "w_span_aug": 1.0, "w_match": 1.0, "w_kl": 1.0},
}
"""What each preset sets; `id` and `none` are ordinary training.

`refkd_text` is the OOD teacher as RefKD's text describes it: the moment moved to another place of
its video, with two losses that hold the labels of both copies consistent (`docs/method.md`, A28).
"""


class RecipeConfig(Config):
    """How a teacher is made; written as a preset's name, or as switches over a preset.

    >>> RecipeConfig.named("refkd_text").augment
    'translate'
    >>> RecipeConfig.model_validate({"preset": "refkd_text", "w_kl": 0.5}).w_match
    1.0
    """

    preset: Literal["id", "none", "refkd_text"] = "id"
    """The preset that gives every switch not set here."""
    augment: Literal["none", "translate"] = "none"
    """What is done to a copy of each pair: `translate` moves the moment within its video."""
    p_aug: float = Field(default=1.0, ge=0, le=1)
    """Probability that a pair is copied in an epoch."""
    keep_original: bool = True
    """Whether the pair itself is trained on beside its copy."""
    w_span_aug: float = Field(default=0.0, ge=0)
    """Weight of the span cross-entropy on the copy."""
    w_match: float = Field(default=0.0, ge=0)
    """Weight of the match loss: is a clip inside the moment, on the pair and on the copy."""
    w_kl: float = Field(default=0.0, ge=0)
    """Weight of the divergence between the match scores inside both copies of the moment."""
    kl_stop_grad: Literal["none", "original", "moved"] = "none"
    """The copy whose match scores get no gradient from that divergence."""
    w_highlight_aug: float = Field(default=0.0, ge=0)
    """Weight of the backbone's own losses on the copy."""

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        given = {"preset": value} if isinstance(value, str) else value
        if not isinstance(given, dict):
            return given
        return {**PRESETS.get(str(given.get("preset", "id")), {}), **given}

    @model_validator(mode="after")
    def _consistent(self) -> RecipeConfig:
        needs = {"w_span_aug", "w_kl", "w_highlight_aug"}
        used = sorted(name for name in needs if getattr(self, name) > 0)
        if self.augment == "none" and used:
            raise ValueError(
                f"{used[0]} needs a copy, but augment is none; set augment: translate"
            )
        if not self.keep_original and not (self.p_aug == 1 and self.w_span_aug > 0):
            raise ValueError(
                "keep_original: false leaves pairs without a span loss; set augment: translate, "
                "p_aug: 1 and a w_span_aug above 0"
            )
        return self

    @classmethod
    def named(cls, name: str) -> RecipeConfig:
        """Return a preset by its name."""
        return cls.model_validate(name)
