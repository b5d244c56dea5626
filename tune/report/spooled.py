"""What earlier launches told MLflow of themselves: read from the spool, which is left alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from tune.record.record import spool_folder
from tune.record.spool import STUDY_RUN
from tune.spec.study_file import StudyFile


def told_environments(file: StudyFile) -> list[tuple[str, dict[str, str]]]:
    """Return when each launch began and with which code and versions, equals in a row once."""
    path = spool_folder(file) / "events.jsonl"
    if not path.is_file():
        return []
    found: list[tuple[str, dict[str, str]]] = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            known = _study_tags(line)
            if known is not None and (not found or found[-1][1] != known[1]):
                found.append(known)
    return found


def _study_tags(line: str) -> tuple[str, dict[str, str]] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:  # the last line, while a driver writes it
        return None
    if event["kind"] != "run" or event["run"] != STUDY_RUN:
        return None
    tags: dict[str, str] = event["body"]["tags"]
    at = datetime.fromtimestamp(event["time"] / 1000, UTC)
    code = {k: v for k, v in tags.items() if k.startswith(("refkd.version", "refkd.git"))}
    return at.strftime("%Y-%m-%d %H:%M UTC"), code
