"""Prepare a dataset: annotations in any layout, features and words into one folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from refkd.data.annotations import read_annotations, require_published, split_files
from refkd.data.build import Material, MissingFeatures, build, counted_on
from refkd.data.dataset import Dataset
from refkd.data.durations import read_durations
from refkd.data.features import FeatureSource, open_features
from refkd.data.grid import MAX_CLIPS, Resample
from refkd.data.joined import joined
from refkd.data.layouts import layout_of
from refkd.data.splits import Carve, hold_out
from refkd.data.text import open_text
from refkd.data.vectors import read_vectors
from refkd.data.words import FURTHER_WORDS, tokenize
from refkd.errors import DataError
from refkd.files import require_absent

LEAST_CLIPS, MOST_CLIPS = 2, 1024


def prepare(
    layout: str,
    *,
    features: Path | Mapping[str, Path],
    out: Path,
    words: Path | None = None,
    text_features: Path | None = None,
    annotations: Path | None = None,
    files: Mapping[str, Path] = {},
    columns: Mapping[str, str] = {},
    durations: Sequence[Path] = (),
    rows_per_second: float | None = None,
    name: str | None = None,
    val_fraction: float = 0.1,
    carve_fraction: float | None = None,
    seed: int = 0,
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

    `annotations` is a folder of split files or one file in a `layout`; `files` names those of some
    splits (`train`, `val`, `test_iid`, `test_ood`) instead, `columns` the columns of a table.
    Videos whose annotations do not say how long they are last as long as the lists of `durations`
    say, or as their features do at `rows_per_second`. Without a split of val, `val_fraction` of
    the train videos are one, drawn by `seed`; `carve_fraction` is the q of the carve of `val_ood`,
    the layout's own unless given.

    With `missing_features="skip"` pairs of videos without features are left out and counted, and
    published split files may hold other pairs than the published ones; `val_ood` is carved from
    all of train all the same. The bytes written do not depend on `jobs` (threads). `name` is what
    the dataset is called.

    `words` are word vectors; `text_features` are features of the tokens of every query instead, by
    qid or by the sha256 of the sentence, in a folder or an HDF5 file.

    Several `features` by name are joined; `unit` names those whose rows are scaled to length 1.
    `id_patterns` (such as `{vid}.mp4`) are by the same names, that of the only source under "",
    and so is the `extractor` (network, weights and frame rate), which may be one text then. A
    video has at most `max_clips` clips, with `resample="always"` just as many.

    `DataError` where an input is wrong; nothing is left then.
    """
    known = layout_of(layout)
    if jobs < 1:
        raise DataError(f"jobs is {jobs}; give at least 1")
    if not LEAST_CLIPS <= max_clips <= MOST_CLIPS:
        raise DataError(f"clips is {max_clips}; give {LEAST_CLIPS} to {MOST_CLIPS:,}")
    if annotations is None and not files:
        raise DataError("no annotations are given; give a folder, a file, or a file a split")
    if (words is None) == (text_features is None):
        both = "not both" if words else "none is given"
        raise DataError(
            f"queries are read by word vectors or by text features, {both}; give one of words "
            f"(--words FILE) and text_features (--text-features PATH)"
        )
    require_absent(out)
    made_by = {"": extractor} if isinstance(extractor, str) else dict(extractor or {})
    source = _source(features, dict(id_patterns or {}), unit, made_by)
    table = read_annotations(
        layout,
        annotations,
        files=files,
        columns=columns,
        durations=read_durations(durations, source, rows_per_second),
    )
    if missing_features == "error":
        require_published(table, split_files(known, annotations, files))
    if "val" not in table.splits:
        table = hold_out(table, fraction=val_fraction, seed=seed)
    vectors = None
    if words is not None:
        said = {token for m in table.splits[counted_on(table)] for token in tokenize(m.query)}
        vectors = read_vectors(words, said, further=FURTHER_WORDS, progress=progress)
    material = Material(
        annotations=replace(table, name=table.name if name is None else name),
        carve=_carve(known.carve, carve_fraction),
        vectors=vectors,
        text=None if text_features is None else open_text(text_features, table, source),
        features=source,
        max_clips=max_clips,
        resample=resample,
        missing_features=missing_features,
        jobs=jobs,
        extractors=made_by,
        progress=progress,
    )
    return build(material, out)


def _source(
    features: Path | Mapping[str, Path],
    patterns: Mapping[str, str],
    unit: Collection[str],
    made_by: Mapping[str, str],
) -> FeatureSource:
    paths = features if isinstance(features, Mapping) else {"": features}
    for option, named in (("id pattern", patterns), ("unit", unit), ("extractor", made_by)):
        for name in named:
            if name not in paths:
                known = ", ".join(paths) if "" not in paths else "none by name"
                raise DataError(f"{option} of {name!r}: no such source of features; it is {known}")
    opened = {name: open_features(path, patterns.get(name)) for name, path in paths.items()}
    return joined(opened, unit)


def _carve(constants: Carve, fraction: float | None) -> Carve:
    if fraction is None:
        return constants
    if not 0 < fraction < 1:
        raise DataError(f"carve-fraction is {fraction}; give a share between 0 and 1")
    return constants.model_copy(update={"fraction": fraction})
