"""From annotations, features and word vectors or text features to a prepared dataset on disk.

The same inputs give the same bytes of every file, and so the same fingerprint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refkd.data.dataset import Dataset, write_words
from refkd.data.feature_facts import feature_facts
from refkd.data.features import FeatureSource
from refkd.data.grid import Resample, time_to_index
from refkd.data.manifest import (
    FEATURES,
    MOMENTS,
    SCHEMA_VERSION,
    SEALED,
    TEXT,
    WORDS,
    CarveFacts,
    Count,
    Manifest,
    TextFacts,
    WordFacts,
    describe_file,
    write_manifest,
)
from refkd.data.moments import Annotations, Moment, Split
from refkd.data.roles import OPEN_ROLES, ROLES, SEALED_ROLES, Role
from refkd.data.splits import FEWEST_VIDEOS, Carve, carve, role_of
from refkd.data.store import Packed, pack
from refkd.data.tables import write_table
from refkd.data.text import TextFeatures, pack_text, text_facts
from refkd.data.vectors import WordVectors
from refkd.data.words import NO_WORDS, Words, build_words, tokenize
from refkd.errors import DataError
from refkd.files import renamed

MissingFeatures = Literal["error", "skip"]
LEAST_KNOWN = 0.2
"""Share of the queries' distinct words that have a vector at least; another language has fewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """All that a dataset is made of."""

    annotations: Annotations
    carve: Carve
    vectors: WordVectors | None
    features: FeatureSource
    max_clips: int
    missing_features: MissingFeatures = "error"
    jobs: int = 1
    extractors: Mapping[str, str] = field(default_factory=dict)
    """What made the features, by source, or under "" that of the only one."""
    resample: Resample = "shorten"
    progress: bool = False
    simulation: Mapping[str, Any] | None = None
    text: TextFeatures | None = None
    """Queries as features; exactly one of these and `vectors` is given."""


def build(material: Material, out: Path) -> Dataset:
    """Build a dataset beside `out`, then rename it; on an error nothing is left behind."""
    splits = material.annotations.splits
    carved = carve(splits["train"], material.carve) if "train" in splits else frozenset()
    annotated = {role: rows for role, rows in _roles(splits, carved).items() if rows}
    kept = {
        role: [m for m in rows if m.video_id in material.features]
        for role, rows in annotated.items()
    }
    _check_kept(material, annotated, kept)
    words, word_facts = _vocabulary(material)
    with renamed(out) as folder:
        (folder / SEALED).mkdir()
        write_words(folder / WORDS, words)
        opened = _write_part(material, folder, kept, OPEN_ROLES, dim=None)
        sealed = _write_part(material, folder / SEALED, kept, SEALED_ROLES, dim=opened.dim)
        text = (
            None if material.text is None else _write_text(material, material.text, folder, kept)
        )
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            name=material.annotations.name,
            max_clips=material.max_clips,
            resample=material.resample,
            splits={s: _count(m, material.features) for s, m in splits.items()},
            roles={role: _count(m, material.features) for role, m in annotated.items()},
            published_counts=material.annotations.as_published,
            repairs={split: material.annotations.repairs(split) for split in splits},
            carve=_carve_facts(material.carve, carved) if "train" in splits else None,
            features=feature_facts(
                material.features, [opened, sealed], material.extractors, _durations(splits)
            ),
            words=word_facts,
            text=text,
            sources=dict(material.annotations.sources),
            simulation=None if material.simulation is None else dict(material.simulation),
            files={},
            **_later_facts(material.annotations),
        )
        names = (*manifest.open_files, *manifest.sealed_files)
        files = {name: describe_file(folder / name) for name in names}
        write_manifest(folder, manifest.model_copy(update={"files": files}))
    return Dataset.open(out, verify=False)  # the files were read for their hashes just now


def _later_facts(annotations: Annotations) -> dict[str, Any]:
    """Return what only manifests of some datasets say."""
    several = {s: sum(bool(m.further) for m in rows) for s, rows in annotations.splits.items()}
    shared = annotations.shared_videos().items()
    return {
        "layout": None if annotations.layout == annotations.name else annotations.layout,
        "holdout": annotations.holdout,
        "shared_videos": {f"{a} & {b}": len(videos) for (a, b), videos in shared},
        "unlabelled": dict(annotations.unlabelled),
        "several_windows": {split: count for split, count in several.items() if count},
    }


def _roles(
    splits: Mapping[Split, list[Moment]], carved: frozenset[str]
) -> dict[Role, list[Moment]]:
    roles: dict[Role, list[Moment]] = {role: [] for role in ROLES}
    for split, moments in splits.items():
        for moment in moments:
            roles[role_of(split, moment.video_id, carved)].append(moment)
    return roles


def _check_kept(
    material: Material,
    annotated: Mapping[Role, list[Moment]],
    kept: Mapping[Role, list[Moment]],
) -> None:
    features = material.features
    missing = sorted(
        {m.video_id for rows in annotated.values() for m in rows}
        - {m.video_id for rows in kept.values() for m in rows}
    )
    if missing and material.missing_features == "error":
        videos = "1 video has" if len(missing) == 1 else f"{len(missing):,} videos have"
        raise DataError(
            f"{videos} no features ({features.missing(missing)}); "
            f"add them, or leave their pairs out with missing_features='skip' "
            f"(--missing-features skip)"
        )
    if not set(annotated) & set(OPEN_ROLES):
        raise DataError("there are only test annotations; add those of train or val")
    if "fit" in kept and material.simulation is None:
        _check_carved(material.carve, kept)
    for role in sorted({*kept, "val_ood"} if "fit" in kept else kept):
        if not kept.get(role):
            raise DataError(
                f"the role {role} has no pair with features; give the features of more videos"
            )


def counted_on(annotations: Annotations) -> Split:
    """Return the split whose queries make the vocabulary."""
    return "train" if "train" in annotations.splits else "val"


def _check_carved(constants: Carve, kept: Mapping[Role, list[Moment]]) -> None:
    rows = kept.get("val_ood", [])
    videos = len({moment.video_id for moment in rows})
    if videos < FEWEST_VIDEOS:
        raise DataError(
            f"val_ood: the carve of q = {constants.fraction:g} takes {len(rows)} pairs in "
            f"{videos} videos with features out of train, too few to judge by; give a greater "
            f"carve_fraction (--carve-fraction), or more train videos"
        )


def _vocabulary(material: Material) -> tuple[Words, WordFacts | None]:
    vectors, source = material.vectors, counted_on(material.annotations)
    if vectors is None:
        return NO_WORDS, None
    tokens = [tokenize(m.query) for m in material.annotations.splits[source]]
    words = build_words(tokens, vectors)
    said = [token for row in tokens for token in row]
    spelt = sorted(token for token in set(said) if token.isalpha())
    unknown = [token for token in spelt if token not in vectors.rows]
    if len(spelt) - len(unknown) < LEAST_KNOWN * len(spelt):
        raise DataError(
            f"{vectors.source}: {len(spelt) - len(unknown)} of {len(spelt):,} words of the "
            f"queries have a vector ({_some(unknown)} have none; the file begins with "
            f"{_some(vectors.rows)}); give vectors of the queries' language, in lower case"
        )
    return words, WordFacts(
        source=vectors.source,
        sha256=vectors.sha256,
        dim=words.vectors.shape[1],
        words=len(words.tokens),
        train_words=len(set(said) & set(words.tokens)),
        characters=len(words.characters),
        counted_on=source,
        coverage=sum(token in vectors.rows for token in said) / len(said),
    )


def _some(words: Iterable[str]) -> str:
    return ", ".join(map(repr, islice(words, 3)))


def _write_part(
    material: Material,
    folder: Path,
    kept: Mapping[Role, list[Moment]],
    roles: Sequence[Role],
    *,
    dim: int | None,
) -> Packed:
    """Write the store and the table of the open or of the sealed roles."""
    rows = [(role, moment) for role in roles for moment in kept.get(role, [])]
    packed = pack(
        material.features,
        sorted({moment.video_id for _, moment in rows}),
        folder / FEATURES,
        max_clips=material.max_clips,
        resample=material.resample,
        dim=dim,
        jobs=material.jobs,
        progress=material.progress,
    )
    clips = [packed.clips[moment.video_id] for _, moment in rows]
    counts = [len(m.windows) for _, m in rows]
    labels = time_to_index(
        np.array([window for _, m in rows for window in m.windows]).reshape(-1, 2),
        np.repeat(np.array(clips, dtype=np.int64), counts),
        np.repeat(np.array([m.duration for _, m in rows]), counts),
    )
    each = iter([(int(first), int(last)) for first, last in labels])
    write_table(
        folder / MOMENTS,
        rows,
        tokens=[tokenize(m.query) for _, m in rows],
        clips=clips,
        spans=[list(islice(each, count)) for count in counts],
    )
    return packed


def _write_text(
    material: Material,
    text: TextFeatures,
    folder: Path,
    kept: Mapping[Role, list[Moment]],
) -> TextFacts:
    """Write the queries of the open and of the sealed roles, each beside their videos."""
    moments = [[m for r in roles for m in kept.get(r, [])] for roles in (OPEN_ROLES, SEALED_ROLES)]
    opened = pack_text(text, moments[0], folder / TEXT, jobs=material.jobs)
    place = folder / SEALED / TEXT
    sealed = pack_text(text, moments[1], place, dim=opened.dim, jobs=material.jobs)
    return text_facts(text, opened, sealed)


def _durations(splits: Mapping[Split, list[Moment]]) -> dict[str, float]:
    return {m.video_id: m.duration for moments in splits.values() for m in moments}


def _count(moments: Sequence[Moment], features: FeatureSource) -> Count:
    kept = [moment for moment in moments if moment.video_id in features]
    return Count(
        pairs=len(kept),
        videos=len({moment.video_id for moment in kept}),
        annotated_pairs=len(moments),
        annotated_videos=len({moment.video_id for moment in moments}),
    )


def _carve_facts(constants: Carve, carved: frozenset[str]) -> CarveFacts:
    videos = sorted(carved)
    digest = hashlib.sha256("\n".join(videos).encode()).hexdigest()
    return CarveFacts(constants=constants, videos=videos, sha256=digest)
