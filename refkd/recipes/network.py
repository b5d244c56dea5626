"""The network that a recipe trains, and the part of it that is kept."""

from __future__ import annotations

import hashlib
import inspect

import torch

from refkd.data.inputs import ModelInputs
from refkd.models import (
    NETWORKS,
    BackboneConfig,
    bias,
    build_backbone,
    debiased,
    is_student,
    source_digest,
)
from refkd.models.backbone import Backbone, SpanBackbone
from refkd.models.debiased import Debiased
from refkd.recipes.config import RecipeConfig
from refkd.seeds import derive_seed


def build_network(
    backbone: BackboneConfig, recipe: RecipeConfig, inputs: ModelInputs, *, seed: int
) -> Backbone:
    """Return a fresh backbone, with the recipe's bias branches beside it where it has some.

    Equal arguments give equal weights; a recipe does not change those of the backbone.
    """
    main, settings = build_backbone(backbone, inputs, seed=seed), recipe.debiasing
    if settings is None:
        return main
    assert isinstance(main, SpanBackbone)  # as `check_fits` has made sure
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "bias branches"))
        return Debiased(main, inputs, settings)


def kept_part(network: Backbone) -> Backbone:
    """Return what is left of a network when it is frozen: that which its answers come from."""
    return network.kept if isinstance(network, Debiased) else network


def network_digest(backbone: BackboneConfig, recipe: RecipeConfig) -> str:
    """Return a hash over all code that turns the kept weights into logits."""
    own = source_digest(backbone)
    if recipe.bias_branch != "counterfactual":
        return own
    digest = hashlib.sha256(own.encode())
    for module in (debiased, bias):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()


def check_fits(backbone: BackboneConfig, recipe: RecipeConfig) -> None:
    """Raise `ValueError` where a recipe needs a span predictor and the backbone has none."""
    needs = {"bias_branch": recipe.bias_branch != "off", "w_ord": recipe.w_ord > 0}
    unmet = [name for name, needed in needs.items() if needed and not is_student(backbone)]
    for name in unmet:
        raise ValueError(
            f"recipe.{name}: {getattr(recipe, name)} needs a backbone with a span predictor, and "
            f"{backbone.name} has none; take another backbone, or switch {name} off"
        )


def check_soft(backbone: BackboneConfig, recipe: RecipeConfig) -> None:
    """Raise `ValueError` where a span loss takes no soft label of several windows."""
    plain = [n for n, one in NETWORKS.items() if one.network.span_loss is Backbone.span_loss]
    if backbone.name not in plain:
        raise ValueError(
            f"training.windows: soft needs a teacher whose span loss is a cross-entropy "
            f"({', '.join(plain)}), not {backbone.name}; take another one, or windows: drawn"
        )
    if recipe.bias_branch != "off":
        raise ValueError(
            "training.windows: soft goes with no bias branch; switch bias_branch off, or take "
            "windows: drawn"
        )
