"""A prepared dataset as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from refkd.data.roles import ROLES, SEALED_ROLES

if TYPE_CHECKING:
    from refkd.data.dataset import Dataset
    from refkd.data.manifest import Manifest


def show_manifest(console: Console, dataset: Dataset) -> None:
    """Print roles with their counts, what was repaired, and what the data is made of."""
    manifest = dataset.manifest
    console.print(_roles(manifest))
    if any(manifest.repairs.values()):
        console.print(_repairs(manifest))
    for what, value in _identity(manifest):
        console.print(f"  {what:<12} {value}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"  {'folder':<12} {dataset.path}", markup=False, highlight=False, soft_wrap=True
    )


def _roles(manifest: Manifest) -> Table:
    table = Table(title=manifest.name, title_justify="left")
    for head in ("role", "pairs", "videos", "annotated pairs", "annotated videos", ""):
        table.add_column(head, justify="right" if head.endswith(("pairs", "videos")) else "left")
    for role in ROLES:
        if role in manifest.roles:
            count = manifest.roles[role]
            numbers = (
                count.pairs,
                count.videos,
                count.annotated_pairs,
                count.annotated_videos,
            )
            note = "sealed" if role in SEALED_ROLES else ""
            table.add_row(role, *(f"{number:,}" for number in numbers), note)
    return table


def _repairs(manifest: Manifest) -> Table:
    kinds = sorted({kind for counts in manifest.repairs.values() for kind in counts})
    table = Table(title="Repairs while reading (annotated pairs)", title_justify="left")
    table.add_column("split")
    for kind in kinds:
        table.add_column(kind.replace("_", " "), justify="right")
    for split, counts in manifest.repairs.items():
        table.add_row(split, *(f"{counts.get(kind, 0):,}" for kind in kinds))
    return table


def _identity(manifest: Manifest) -> list[tuple[str, str]]:
    features, words = manifest.features, manifest.words
    lines = [
        ("fingerprint", manifest.fingerprint),
        (
            "features",
            f"{features.dim} wide, {features.layout}, "
            f"{features.extractor or 'extractor unknown'}, "
            f"{features.rows_per_second:g} rows a second, sha256 {features.sha256[:12]}",
        ),
        (
            "words",
            f"{words.words:,} with {words.dim}-d vectors of {words.source}; {words.coverage:.2%} "
            f"of the tokens of {words.counted_on}; {words.characters} characters",
        ),
        ("clips", f"at most {manifest.max_clips} a video"),
    ]
    if features.length_differences:
        lines.append(
            (
                "lengths",
                f"{features.length_differences:,} videos differ from their duration, by at most "
                f"{features.largest_difference:g} s",
            )
        )
    if zero := features.zero_videos:
        named = ", ".join(zero[:3]) + (", …" if len(zero) > 3 else "")
        lines.append(("zero", f"{len(zero):,} videos have no feature but 0: {named}"))
    if manifest.carve is not None:
        lines.append(
            (
                "carve",
                f"{len(manifest.carve.videos):,} train videos are val_ood "
                f"(q = {manifest.carve.constants.fraction:g}), "
                f"sha256 {manifest.carve.sha256[:12]}",
            )
        )
    if manifest.simulation is None and not manifest.published_counts:
        lines.append(("note", "the split files hold other pairs than the published ones"))
    return lines
