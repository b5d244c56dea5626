"""Prepare a published dataset: annotations, features and word vectors into one folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from refkd.data.build import Material, MissingFeatures, build, counted_on, require_absent
from refkd.data.dataset import Dataset
from refkd.data.features import open_features
from refkd.data.grid import MAX_CLIPS, Resample
from refkd.data.joined import joined
from refkd.data.moments import PUBLISHED, DatasetName, read_annotations, require_published
from refkd.data.splits import ACTIVITYNET, CHARADES, Carve
from refkd.data.vectors import read_vectors
from refkd.data.words import FURTHER_WORDS, tokenize
from refkd.errors import DataError

LEAST_CLIPS, MOST_CLIPS = 2, 1024
CARVES: dict[DatasetName, Carve] = {"charades-cd": CHARADES, "activitynet-cd": ACTIVITYNET}


def prepare(
    dataset: DatasetName,
    *,
    annotations: Path,
    features: Path | Mapping[str, Path],
    words: Path,
    out: Path,
    missing_features: MissingFeatures = "error",
    id_patterns: Mapping[str, str] | None = None,
    unit: Collection[str] = (),
    max_clips: int = MAX_CLIPS,
    resample: Resample = "shorten",
    jobs: int = 1,
    extractor: str | Mapping[str, str] | None = None,
    progress: bool = True,
) -> Dataset:
    """Write a prepared dataset to `out` and open it.

    With `missing_features="skip"` pairs of videos without features are left out and counted, and
    the split files may hold other pairs than the published ones; `val_ood` is carved from all of
    train all the same. The bytes written do not depend on `jobs` (threads).

    Several `features` by name are joined; `unit` names those whose rows are scaled to length 1.
    `id_patterns` (such as `{vid}.mp4`) are by the same names, that of the only source under "",
    and so is the `extractor` (network, weights and frame rate), which may be one text then. A
    video has at most `max_clips` clips, with `resample="always"` just as many.

    `DataError` where an input is wrong; nothing is left then.
    """
    if dataset not in PUBLISHED:
        raise DataError(f"unknown dataset {dataset!r}; give one of {', '.join(PUBLISHED)}")
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; give at least 1")
    if not LEAST_CLIPS <= max_clips <= MOST_CLIPS:
        raise DataError(f"clips is {max_clips}; give {LEAST_CLIPS} to {MOST_CLIPS:,}")
    require_absent(out)
    paths = features if isinstance(features, Mapping) else {"": features}
    made_by = {"": extractor} if isinstance(extractor, str) else dict(extractor or {})
    patterns = dict(id_patterns or {})
    for option, named in (("id pattern", patterns), ("unit", unit), ("extractor", made_by)):
        for name in named:
            if name not in paths:
                known = ", ".join(paths) if "" not in paths else "none by name"
                raise DataError(f"{option} of {name!r}: no such source of features; it is {known}")
    opened = {name: open_features(path, patterns.get(name)) for name, path in paths.items()}
    table = read_annotations(dataset, annotations)
    if missing_features == "error":
        require_published(table, annotations)
    said = {token for m in table.splits[counted_on(table)] for token in tokenize(m.query)}
    vectors = read_vectors(words, said, further=FURTHER_WORDS, progress=progress)
    material = Material(
        annotations=table,
        carve=CARVES[dataset],
        vectors=vectors,
        features=joined(opened, unit),
        max_clips=max_clips,
        resample=resample,
        missing_features=missing_features,
        jobs=jobs,
        extractors=made_by,
        progress=progress,
    )
    return build(material, out)
