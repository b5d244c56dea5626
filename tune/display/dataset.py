"""A prepared dataset as tables for people."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from refkd.data.dataset import Dataset
from refkd.data.manifest import Manifest
from refkd.data.roles import ROLES, SEALED_ROLES
from tune.display.console import make_table, say


def show_manifest(console: Console, dataset: Dataset) -> None:
    """Print roles with their counts, what was repaired, and what the data is made of."""
    manifest = dataset.manifest
    heads = ("role", "pairs", "videos", "annotated pairs", "annotated videos", "")
    table = make_table(manifest.name, heads)
    for role in (role for role in ROLES if role in manifest.roles):
        count = manifest.roles[role]
        numbers = (count.pairs, count.videos, count.annotated_pairs, count.annotated_videos)
        note = "sealed" if role in SEALED_ROLES else ""
        table.add_row(role, *(f"{number:,}" for number in numbers), note)
    console.print(table)
    if any(manifest.repairs.values()):
        kinds = sorted({kind for counts in manifest.repairs.values() for kind in counts})
        named = ["split", *(kind.replace("_", " ") for kind in kinds)]
        rows = (
            [split, *(f"{counts.get(kind, 0):,}" for kind in kinds)]
            for split, counts in manifest.repairs.items()
        )
        console.print(make_table("Repairs while reading (annotated pairs)", named, rows))
    say(console, f"  {'fingerprint':<12} {manifest.fingerprint}")
    for what, value in ingredients(manifest):
        say(console, f"  {what:<12} {value}")
    say(console, f"  {'folder':<12} {dataset.path}")


def ingredients(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what the data is made of: a name and a description each."""
    features, words, carve = manifest.features, manifest.words, manifest.carve
    yield (
        "features",
        f"{features.dim} wide, {features.layout}, {features.extractor or 'extractor unknown'}, "
        f"{features.rows_per_second:g} rows a second, sha256 {features.sha256[:12]}",
    )
    for part in features.parts:
        scaled = ", scaled to length 1" if part.norm == "unit" else ""
        yield (
            part.name,
            f"{part.dim} wide, {part.layout}, {part.extractor or 'extractor unknown'}, "
            f"{part.rows_per_second:g} rows a second{scaled}, sha256 {part.sha256[:12]}",
        )
    yield (
        "words",
        f"{words.words:,} with {words.dim}-d vectors of {words.source}; {words.coverage:.2%} "
        f"of the tokens of {words.counted_on}; {words.characters} characters",
    )
    many = "at most " if manifest.resample == "shorten" else ""
    yield "clips", f"{many}{manifest.max_clips} a video"
    if features.length_differences:
        yield (
            "lengths",
            f"{features.length_differences:,} videos differ from their duration, by at most "
            f"{features.largest_difference:g} s",
        )
    for name, videos, what in (
        ("zero", features.zero_videos, "no feature but 0"),
        ("constant", features.constant_videos, "the same row throughout, or one alone"),
    ):
        if videos:
            named = ", ".join(videos[:3]) + (", …" if len(videos) > 3 else "")
            yield name, f"{len(videos):,} videos have {what}: {named}"
    if flat := features.flat_columns:
        yield "flat", f"{len(flat):,} columns have one value in all clips, the first is {flat[0]}"
    if carve is not None:
        yield (
            "carve",
            f"{len(carve.videos):,} train videos are val_ood (q = {carve.constants.fraction:g}), "
            f"sha256 {carve.sha256[:12]}",
        )
    if manifest.simulation is None and not manifest.published_counts:
        yield "note", "the split files hold other pairs than the published ones"
