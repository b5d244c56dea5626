"""AdamW as the paper uses it, and its state as named tensors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from refkd.errors import CheckpointError
from refkd.training.config import TrainingConfig

_STATE = ("step", "exp_avg", "exp_avg_sq")


def make_optimizer(module: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW with eps 1e-6; weight decay spares biases and normalisation (A23)."""
    spared = [
        p
        for part in module.modules()
        for name, p in part.named_parameters(recurse=False)
        if p.requires_grad and (isinstance(part, nn.LayerNorm) or name.startswith("bias"))
    ]
    known = {id(p) for p in spared}
    decayed = [p for p in module.parameters() if p.requires_grad and id(p) not in known]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.learning_rate,
        eps=1e-6,
        fused=True,
    )


def optimizer_tensors(optimizer: torch.optim.AdamW, module: nn.Module) -> dict[str, Tensor]:
    """Return the moments and step counts as `optimizer/KEY/PARAMETER`."""
    return {
        f"optimizer/{key}/{name}": optimizer.state[parameter][key]
        for name, parameter in module.named_parameters()
        if parameter in optimizer.state
        for key in _STATE
    }


def load_optimizer(
    optimizer: torch.optim.AdamW, module: nn.Module, tensors: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave, names without their first part.

    Raises `CheckpointError` where a name belongs to no parameter of `module`.
    """
    parameters = dict(module.named_parameters())
    for path, tensor in tensors.items():
        key, _, name = path.partition("/")
        if key not in _STATE or name not in parameters:
            raise CheckpointError(f"optimizer/{path} belongs to no parameter of this model")
        optimizer.state[parameters[name]][key] = tensor.clone()
