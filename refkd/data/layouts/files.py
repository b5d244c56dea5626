"""Reading the files of layouts: JSON, lines, tables. A byte-order mark is read over."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from refkd.errors import DataError
from refkd.files import VIDEO_SUFFIXES

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file; `DataError` where a key stands twice or it is damaged."""
    return _parsed(_text(path), str(path))


def read_videos(path: Path) -> dict[str, Any]:
    """Return a JSON object of videos by id, at least one."""
    content = read_json(path)
    if not isinstance(content, dict) or not content:
        raise DataError(
            f"{path}: expected videos by id, found {type(content).__name__} without any"
        )
    return content


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of each line that is not blank; `DataError` for none."""
    found = False
    # Not `splitlines`: it also splits at characters that stand within sentences.
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            found = True
            yield f"{path}:{number}", line.removesuffix("\r")
    if not found:
        raise DataError(f"{path}: is empty; get the file again")


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the object of each line."""
    for where, line in read_lines(path):
        content = _parsed(line, where)
        if not isinstance(content, dict):
            raise DataError(f"{where}: is {_short(content)}; give a JSON object a line")
        yield where, content


def read_table(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the place and the fields of each row of a .csv, .tsv or .parquet file.

    Fields of text files are texts, so that an id such as `007` stays one. Rows count from 1, the
    header left out.
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".parquet":
            table = parquet.read_table(path, use_threads=False)
        else:
            split = "\t" if path.suffix == ".tsv" else ","
            form = csv.ParseOptions(delimiter=split, newlines_in_values=True)
            with csv.open_csv(path, parse_options=form) as first:
                names = first.schema.names
            texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = csv.read_csv(path, parse_options=form, convert_options=texts)
        rows = table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        told = str(error).splitlines()[0]
        raise DataError(f"{path}: cannot be read as a table ({told}); save it again") from None
    if twice := [name for name, times in Counter(table.column_names).items() if times > 1]:
        raise DataError(f"{path}: has the column {twice[0]!r} twice; remove one")
    if not rows:
        raise DataError(f"{path}: has no rows; get the file again")
    for number, row in enumerate(rows, start=1):
        yield f"{path}: row {number}", row


def number_of(text: str) -> float | str:
    """Return the number that a text spells, or the text itself, which the common checks refuse.

    >>> number_of(" 6.9"), number_of("0:12"), number_of("1_0")
    (6.9, '0:12', '1_0')
    """
    return float(text) if _NUMBER.fullmatch(text.strip()) else text


def without_media(video: Any) -> Any:
    """Return a video's id without the end of its file's name.

    >>> without_media("s13-d21.avi"), without_media("a.b")
    ('s13-d21', 'a.b')
    """
    if isinstance(video, str):
        for suffix in VIDEO_SUFFIXES:
            if video.lower().endswith(suffix):
                return video[: -len(suffix)]
    return video


def require(entry: dict[str, Any], keys: tuple[str, ...], where: str, what: str) -> None:
    """Raise `DataError` where keys are missing from an entry."""
    if missing := sorted(set(keys) - entry.keys()):
        raise DataError(f"{where}: {', '.join(missing)} is missing; complete the {what}")


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start:,} is no UTF-8; save the file as UTF-8"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a file") from None


def _parsed(text: str, where: str) -> Any:
    def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, times in Counter(key for key, _ in items).items():
            if times > 1:
                raise DataError(f"{where}: {key} stands {times} times; join or remove one")
        return dict(items)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # also of a number of thousands of digits
        raise DataError(f"{where}: not valid JSON ({error}); get the file again") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
