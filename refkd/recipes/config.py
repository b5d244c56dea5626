"""Recipes: the switches that make an ordinary network a teacher."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from refkd.config import Settings
from refkd.data.roles import OpenRole
from refkd.models.debiased import BiasMode, Debiasing
from refkd.recipes.presets import PRESETS, RECONSTRUCTED, Preset
from refkd.recipes.shift_pad import FrameSource

NEED_A_COPY = ("w_span_aug", "w_kl", "w_ord", "w_highlight_aug")


class RecipeConfig(Settings):
    """How a teacher is made; written as a preset's name, or as switches over a preset.

    >>> RecipeConfig.named("refkd_text").augment
    'translate'
    >>> RecipeConfig.model_validate({"preset": "refkd_text", "w_kl": 0.5}).w_match
    1.0
    """

    preset: Preset = "id"
    """The preset that gives every switch not set here."""
    oracle: bool = False
    """Train on `val_ood`: a diagnostic whose results leak and are marked so."""
    augment: Literal["none", "translate", "truncate", "translate+truncate", "shift_pad"] = "none"
    """What is done to a copy of each pair: `translate` moves the moment within its video,
    `truncate` cuts both ends of the video off, `shift_pad` inserts background frames."""
    p_aug: float = Field(default=1.0, ge=0, le=1)
    """Probability that a pair is copied in an epoch."""
    copies: int = Field(default=1, ge=1, le=2)
    """r, copies that are made of it, each with draws of its own; their losses are added."""
    keep_original: bool = True
    """Whether the pair itself is trained on beside its copies."""
    gamma: float = Field(default=1.0, ge=0, le=1)
    """γ, how strongly truncation prefers places where few moments lie; 0 for not at all."""
    truncate_min_clips: int = Field(default=16, ge=1)
    """n_min, clips that truncation leaves at least."""
    truncate_max_share: float = Field(default=0.9, gt=0, le=1)
    """λ_max, the largest share of its video that truncation may give to a moment."""
    pad_share: float = Field(default=0.5, ge=0)
    """Frames that `shift_pad` inserts at most, as a share of the video's clips."""
    pad_source: FrameSource = "own"
    """Where those frames are from: the video's own background, or another video."""
    w_span_aug: float = Field(default=0.0, ge=0)
    """Weight of the span cross-entropy on the copy."""
    w_match: float = Field(default=0.0, ge=0)
    """Weight of the match loss: is a clip inside the moment, on the pair and on the copy."""
    w_kl: float = Field(default=0.0, ge=0)
    """Weight of the divergence between the match scores inside both copies of the moment."""
    kl_stop_grad: Literal["none", "original", "moved"] = "none"
    """The copy whose match scores get no gradient from that divergence."""
    w_ord: float = Field(default=0.0, ge=0)
    """Weight of the order loss: was the moment moved within this video?"""
    w_highlight_aug: float = Field(default=0.0, ge=0)
    """Weight of the backbone's own losses on the copy."""
    bias_branch: Literal["off", BiasMode] = "off"
    """How models of the video alone and of the query alone push the backbone off the bias."""
    alpha_v: float = Field(default=1.0, ge=0)
    """α_v, weight of the video branch's cross-entropy."""
    alpha_q: float = Field(default=1.0, ge=0)
    """α_q, weight of the query branch's cross-entropy."""
    w_entropy: float = Field(default=0.1, ge=0)
    """w_H, weight of the entropy of the gated bias in `learned_mixin`."""
    alpha: float = Field(default=0.5, ge=0)
    """α, how much of the branches' logits `counterfactual` takes off at inference."""

    @property
    def label(self) -> str:
        """The recipe's name in tables, with all that a reader must know of it.

        >>> RecipeConfig.named("zhang2021b").label
        'zhang2021b (reconstruction)'
        """
        changed = ["changed"] if set(self.changes()) - {"oracle"} else []
        marks = [*self.marks, *changed]
        return f"{self.preset} ({', '.join(marks)})" if marks else self.preset

    @property
    def marks(self) -> list[str]:
        """Why the recipe is not to be taken at its name: `leakage`, `reconstruction`."""
        marks = ["leakage"] if self.oracle else []
        rebuilt = self.augment in RECONSTRUCTED or self.bias_branch != "off"
        return [*marks, "reconstruction"] if rebuilt else marks

    def changes(self) -> dict[str, Any]:
        """Return the switches that are not as the preset sets them.

        >>> RecipeConfig.model_validate({"preset": "refkd_text", "w_kl": 0.5}).changes()
        {'w_kl': 0.5}
        """
        preset = RecipeConfig.model_validate({"preset": self.preset, "oracle": self.oracle})
        plain = {**preset.model_dump(mode="json"), "oracle": False}
        mine = self.model_dump(mode="json")
        return {name: value for name, value in mine.items() if value != plain[name]}

    @property
    def trained_on(self) -> OpenRole:
        """The role whose pairs the teacher is trained on."""
        return "val_ood" if self.oracle else "fit"

    @property
    def debiasing(self) -> Debiasing | None:
        """The settings of the bias branches; None where there are none."""
        if self.bias_branch == "off":
            return None
        return Debiasing(
            mode=self.bias_branch,
            alpha_v=self.alpha_v,
            alpha_q=self.alpha_q,
            w_entropy=self.w_entropy,
            alpha=self.alpha,
        )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        given = {"preset": value} if isinstance(value, str) else value
        if not isinstance(given, dict):
            return given
        return {**PRESETS.get(str(given.get("preset", "id")), {}), **given}

    @model_validator(mode="after")
    def _consistent(self) -> RecipeConfig:
        used = [name for name in NEED_A_COPY if getattr(self, name) > 0]
        if self.augment == "none" and used:
            raise ValueError(
                f"{used[0]} needs a copy, but augment is none; set augment: translate"
            )
        if self.w_ord > 0 and "translate" not in self.augment:
            raise ValueError(
                f"w_ord asks whether the moment was moved, but augment is {self.augment}; set "
                "augment: translate, or w_ord: 0"
            )
        if not self.keep_original and not (self.p_aug == 1 and self.w_span_aug > 0):
            raise ValueError(
                "keep_original: false leaves pairs without a span loss; set augment: translate, "
                "p_aug: 1 and a w_span_aug above 0"
            )
        if self.preset == "oracle" and not self.oracle:
            raise ValueError(
                "preset oracle trains on val_ood, so every result of it leaks; write oracle: true "
                "beside it if that is what you want"
            )
        return self

    @classmethod
    def named(cls, name: str) -> RecipeConfig:
        """Return a preset by its name."""
        return cls.model_validate(name)
