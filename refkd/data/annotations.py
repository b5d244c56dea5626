"""From annotation files in any layout to moments: which file is which split, and all checks.

A layout (`refkd.data.layouts`) reads its files; what is done to the records it yields is the same
for all (`refkd.data.cleaning`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from refkd.data.cleaning import Cleaning, query_of
from refkd.data.layouts import LAYOUTS, layout_of
from refkd.data.layouts.names import split_of_name
from refkd.data.layouts.record import Layout, Record
from refkd.data.moments import SPLITS, Annotations, Split
from refkd.errors import DataError
from refkd.files import sha256_file


def read_annotations(
    name: str,
    place: Path | None = None,
    *,
    files: Mapping[str, Path] = {},
    columns: Mapping[str, str] = {},
    durations: Callable[[str], Any] = lambda video: None,
    partial: bool = False,
) -> Annotations:
    """Read the annotations of a layout: a folder of split files, one file, or `files` by split.

    `columns` names the columns of tables, `durations` tells the seconds of a video whose record
    does not. With `partial` a layout's required files may be absent, but not all of them. Raises
    `DataError` naming file, video, value and remedy.
    """
    layout = layout_of(name)
    paths = split_files(layout, place, files, partial=partial)
    cleaned = Cleaning(layout.duplicates, durations)
    records: dict[Split, list[Record]] = defaultdict(list)
    unlabelled: dict[str, int] = {}
    for split, path in paths.items():
        found = list(layout.read(path, columns))
        if split.startswith("test") and all(record.windows is None for record in found):
            unlabelled[path.name] = len(found)
            continue
        for record in found:
            records[record.split or split].append(record)
    if not records:
        raise DataError(f"{place}: no query has a moment; give files with moments")
    splits = {s: list(cleaned.moments(s, records[s])) for s in SPLITS if s in records}
    if "train" not in splits and not partial:
        raise DataError(
            f"{next(iter(paths.values()))}: no pair is of train; a search needs training pairs"
        )
    annotations = Annotations(
        name=name,
        layout=name,
        splits=splits,
        sources=_sources(paths),
        published=layout.published,
        unlabelled=unlabelled,
    )
    _check_shared(layout, annotations, paths)
    return annotations


def read_queries(
    name: str,
    place: Path | None = None,
    *,
    files: Mapping[str, Path] = {},
    columns: Mapping[str, str] = {},
) -> list[str]:
    """Return the queries of all split files that are there; nothing else of them is checked."""
    layout = layout_of(name)
    paths = split_files(layout, place, files, partial=True)
    return [query_of(record) for path in paths.values() for record in layout.read(path, columns)]


def split_files(
    layout: Layout, place: Path | None, given: Mapping[str, Path], *, partial: bool = False
) -> dict[Split, Path]:
    """Return the file of each split, those that are `given` before those found at `place`."""
    for name, path in given.items():
        if name not in SPLITS:
            raise DataError(f"{name}={path}: unknown split; give one of {', '.join(SPLITS)}")
        if not path.is_file():
            raise DataError(f"{path}: no such file; give the one of {name}")
    found = {} if place is None else _found(layout, place)
    paths = {s: Path(given.get(s, found.get(s, ""))) for s in SPLITS if s in given or s in found}
    if absent := [split for split in layout.required if split not in paths]:
        missing = layout.files.get(absent[0], f"a file of {absent[0]}")
        if not (partial and paths):
            where = f"{place}: " if place is not None else ""
            raise DataError(
                f"{where}{missing} is missing; put it there, or name it with "
                f"--split {absent[0]}=FILE"
            )
    return paths


def require_published(annotations: Annotations, paths: Mapping[Split, Path] | Path) -> None:
    """Raise `DataError` where a split has not the number of pairs that its layout insists on."""
    layout = LAYOUTS.get(annotations.layout or "")
    if layout is None or not layout.exact or layout.published is None:
        return
    for split, expected in layout.published.items():
        found = len(annotations.splits[split])
        if found != expected:
            file = paths / layout.files[split] if isinstance(paths, Path) else paths[split]
            raise DataError(
                f"{file}: {found:,} pairs, published are {expected:,}; get the file again, or "
                f"allow a subset with missing_features='skip' (--missing-features skip)"
            )


def detect_dataset(folder: Path) -> str:
    """Return which dataset's split files a folder holds, of those with names of their own."""
    own = {name: layout.prefix for name, layout in LAYOUTS.items() if layout.prefix}
    found = [name for name, prefix in own.items() if any(folder.glob(f"{prefix}*.json"))]
    if len(found) != 1:
        raise DataError(
            f"{folder}: expected the split files of one dataset (charades_*.json or anet_*.json), "
            f"found those of {len(found)}; give the folder that holds them"
        )
    return found[0]


def _found(layout: Layout, place: Path) -> dict[Split, Path]:
    if place.is_file():
        return {"train": place}
    if not place.is_dir():
        named = layout.files.get("train", f"the {' or '.join(layout.suffixes)} files")
        raise DataError(f"{place}: no such folder; give the one with {named}")
    if layout.prefix is not None:
        for path in sorted(place.glob(f"{layout.prefix}*.json")):
            if path.name not in layout.files.values():
                raise DataError(
                    f"{path}: not a split of {layout.name}; expected "
                    f"{', '.join(layout.files.values())}; rename or remove it"
                )
    if layout.files:
        return {s: place / name for s, name in layout.files.items() if (place / name).is_file()}
    found: dict[Split, Path] = {}
    for path in sorted(p for p in place.iterdir() if p.suffix in layout.suffixes):
        split = split_of_name(path.stem)
        if split is None or not path.is_file():
            continue
        if split in found:
            raise DataError(
                f"{place}: both {found[split].name} and {path.name} may be {split}; name the one "
                f"that is meant with --split {split}=FILE"
            )
        found[split] = path
    return found


def _sources(paths: Mapping[Split, Path]) -> dict[str, str]:
    names = [path.name for path in paths.values()]
    twice = len(set(names)) < len(names)
    return {
        f"{split}/{path.name}" if twice else path.name: sha256_file(path)
        for split, path in paths.items()
    }


def _check_shared(layout: Layout, annotations: Annotations, paths: Mapping[Split, Path]) -> None:
    for (a, b), videos in annotations.shared_videos().items():
        if (a, b) not in layout.shared:
            one, other = (paths.get(split, Path(split)) for split in (a, b))
            raise DataError(
                f"{other}: video {videos[0]} also stands in {one.name}; splits must not share a "
                f"video, remove it from one"
            )
