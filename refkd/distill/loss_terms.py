"""A loss and what it was made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class LossTerms:
    """The scalar to minimise, and named scalars worth logging, all means over the batch."""

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
