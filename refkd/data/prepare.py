"""Prepare a published dataset: annotations, features and word vectors into one folder."""

from __future__ import annotations

from pathlib import Path

from refkd.data.build import Material, MissingFeatures, build, counted_on, require_absent
from refkd.data.dataset import Dataset
from refkd.data.features import open_features
from refkd.data.grid import MAX_CLIPS
from refkd.data.moments import PUBLISHED, DatasetName, read_annotations, require_published
from refkd.data.splits import ACTIVITYNET, CHARADES, Carve
from refkd.data.vectors import read_vectors
from refkd.data.words import FURTHER_WORDS, tokenize
from refkd.errors import DataError

CARVES: dict[DatasetName, Carve] = {"charades-cd": CHARADES, "activitynet-cd": ACTIVITYNET}


def prepare(
    dataset: DatasetName,
    *,
    annotations: Path,
    features: Path,
    words: Path,
    out: Path,
    missing_features: MissingFeatures = "error",
    jobs: int = 1,
    extractor: str | None = None,
    progress: bool = True,
) -> Dataset:
    """Write a prepared dataset to `out` and open it.

    With `missing_features="skip"` pairs of videos without features are left out and counted, and
    the split files may hold other pairs than the published ones; `val_ood` is carved from all of
    train all the same. The bytes written do not depend on `jobs` (threads). `extractor` states the
    network, its weights and frame rate. `DataError` where an input is wrong; nothing is left then.
    """
    if dataset not in PUBLISHED:
        raise DataError(f"unknown dataset {dataset!r}; give one of {', '.join(PUBLISHED)}")
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; give at least 1")
    require_absent(out)
    source = open_features(features)
    table = read_annotations(dataset, annotations)
    if missing_features == "error":
        require_published(table, annotations)
    said = {token for m in table.splits[counted_on(table)] for token in tokenize(m.query)}
    vectors = read_vectors(words, said, further=FURTHER_WORDS, progress=progress)
    material = Material(
        annotations=table,
        carve=CARVES[dataset],
        vectors=vectors,
        features=source,
        max_clips=MAX_CLIPS,
        missing_features=missing_features,
        jobs=jobs,
        extractor=extractor,
        progress=progress,
    )
    return build(material, out)
