"""A prepared dataset as tables for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console

from refkd.data.dataset import Dataset
from refkd.data.layouts import LAYOUTS
from refkd.data.manifest import Manifest
from refkd.data.profile import Profile, Spread
from refkd.data.roles import ROLES, SEALED_ROLES
from tune.display.console import make_table, say

FEW = 200
"""Pairs below which a validation role is called small."""
_BARS = " ▁▂▃▄▅▆▇█"


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


def show_profile(console: Console, found: Profile) -> None:
    """Print how long videos and moments of the open roles are, where they lie, unknown words."""
    heads = ("role", "pairs", "videos", "video s", "moment s", "moment %", "windows", "empty")
    table = make_table("Open roles: a tenth, the median and nine tenths lie below", heads)
    for role, one in found.roles.items():
        share = Spread(**{name: 100 * value for name, value in one.moment_share})
        spreads = (_spread(spread) for spread in (one.video_seconds, one.moment_seconds, share))
        counts = (f"{one.pairs:,}", f"{one.videos:,}")
        table.add_row(role, *counts, *spreads, f"{one.windows:.2f}", f"{one.empty:,}")
    console.print(table)
    say(console, "Where moments lie: from the start of a video to its end, a bar a twentieth")
    for role, one in found.roles.items():
        most = max(one.places)
        say(console, f"  {role:<8} {bars(one.places)}  at most {most:.0%} of the moments")
    if (unknown := found.unknown) is not None:
        named = f": {', '.join(map(repr, unknown.most))}" if unknown.most else ""
        more = ", …" if unknown.words > len(unknown.most) else ""
        say(
            console,
            f"Words without a vector: {unknown.words:,}, {unknown.share:.2%} of all that is said"
            f"{named}{more}",
        )
    for role, one in found.roles.items():
        if role != "fit" and one.pairs < FEW:
            say(
                console,
                f"Few pairs: a score of R1 on {role} is uncertain by about "
                f"{50 / one.pairs**0.5:.0f} points (one standard error)",
                "bold yellow",
            )


def bars(values: Sequence[float]) -> str:
    """Return a bar a value, the greatest of them full.

    >>> bars([0.0, 0.5, 1.0])
    ' ▄█'
    """
    most = max(values)
    return "".join(_BARS[math.ceil(8 * value / most) if most > 0 else 0] for value in values)


def _spread(spread: Spread) -> str:
    return " ".join(f"{value:.1f}" for value in (spread.low, spread.median, spread.high))


def ingredients(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what the data is made of: a name and a description each."""
    features, carve = manifest.features, manifest.carve
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
    if (words := manifest.words) is not None:
        yield (
            "words",
            f"{words.words:,} with {words.dim}-d vectors of {words.source}; {words.coverage:.2%} "
            f"of the tokens of {words.counted_on}; {words.characters} characters",
        )
    if (text := manifest.text) is not None:
        cut = f" ({text.cut:,} had more and are cut)" if text.cut else ""
        yield (
            "text",
            f"{text.queries:,} queries of up to {text.tokens} tokens{cut}, {text.dim} wide, "
            f"{text.layout}, {text.extraction or 'extractor unknown'}, sha256 {text.sha256[:12]}",
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
    yield from _origins(manifest)


def _origins(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what is to be known of the annotations beside their repairs."""
    if manifest.layout is not None:
        yield "layout", manifest.layout
    if (held := manifest.holdout) is not None:
        yield (
            "holdout",
            f"{len(held.videos):,} train videos are val_id ({held.fraction:g} of them, seed "
            f"{held.seed}), as there was no split of val",
        )
    if several := manifest.several_windows:
        counts = ", ".join(f"{count:,} of {split}" for split, count in several.items())
        yield "windows", f"annotated pairs with several: {counts}"
    if shared := manifest.shared_videos:
        counts = ", ".join(f"{count:,} in {both}" for both, count in shared.items())
        yield "shared", f"videos that stand in two splits: {counts}"
    for name, count in manifest.unlabelled.items():
        yield "unlabelled", f"{count:,} queries of {name} have no moment and are left out"
    layout = LAYOUTS.get(manifest.name)
    published = layout is not None and layout.published and manifest.simulation is None
    if published and not manifest.published_counts:
        yield "note", "the split files hold other pairs than the published ones"
    if absent := manifest.no_test:
        yield "test", f"{absent}: `refkd evaluate --final` has nothing to look at"
