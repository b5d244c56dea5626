"""What `refkd teach` prints of teachers."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from rich.console import Console

from refkd.models import MRTNetConfig
from refkd.recipes import RecipeConfig
from tune.display.console import SCORES
from tune.display.study import show_taught
from tune.teach import Taught


def test_leakage_and_reconstructions_are_marked() -> None:
    taught = Taught(
        role="ood",
        recipe=RecipeConfig.model_validate({"preset": "id", "oracle": True}).label,
        backbone=MRTNetConfig().label,
        folder=Path("teachers/abc"),
        epoch=3,
        metrics=dict.fromkeys(SCORES, 20.0),
    )
    printed = StringIO()
    show_taught(Console(file=printed, width=200), {"ood": taught})
    assert "id (leakage)" in printed.getvalue()
    assert "(reconstruction)" in printed.getvalue()
