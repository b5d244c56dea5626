"""Teachers for a terminal: what they score, and what tuning one has found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from tune.teach import Taught, Tuned

HEADS = {
    "val_id/miou": "ID mIoU",
    "val_ood/miou": "OOD mIoU",
    "val_id/r1_iou0.5": "ID R1@0.5",
    "val_ood/r1_iou0.5": "OOD R1@0.5",
}


def show_taught(console: Console, taught: Mapping[str, Taught]) -> None:
    """Print a row a teacher."""
    table = Table(title="Teachers (validation)", title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("teacher", "recipe", "backbone"):
        table.add_column(head)
    for head in ("epoch", *HEADS.values()):
        table.add_column(head, justify="right")
    for role, one in taught.items():
        scores = (f"{one.metrics[name]:.2f}" for name in HEADS)
        table.add_row(role, one.recipe, one.backbone, str(one.epoch), *scores)
    console.print(table)
    for one in taught.values():
        console.print(f"  {one.folder}", markup=False, highlight=False, soft_wrap=True)


def show_tuned(console: Console, tuned: Tuned) -> None:
    """Print the best teacher, and the lines that make it the study's."""
    console.print(
        f"{tuned.study}: {tuned.trials} teachers, {tuned.failed} failed", highlight=False
    )
    show_taught(console, {tuned.role: tuned.best})
    settings: dict[str, dict[str, Any]] = {}
    for name, value in sorted(tuned.values.items()):
        section, _, key = name.partition(".")
        settings.setdefault(section, {})[key] = value
    if "recipe" in settings:
        settings["recipe"] = tuned.recipe
    text = yaml.safe_dump({"teachers": {tuned.role: settings}}, sort_keys=False)
    console.print("To make it the study's, write into the study file:")
    console.print(text, markup=False, highlight=False)
