"""The roles of a split, and the line between what a search may read and what is sealed."""

from __future__ import annotations

from typing import Literal, get_args

OpenRole = Literal["fit", "val_id", "val_ood"]
SealedRole = Literal["test_id", "test_ood"]
Role = Literal["fit", "val_id", "val_ood", "test_id", "test_ood"]

OPEN_ROLES: tuple[OpenRole, ...] = get_args(OpenRole)
SEALED_ROLES: tuple[SealedRole, ...] = get_args(SealedRole)
ROLES: tuple[Role, ...] = get_args(Role)
