"""The keys of a study file, with their defaults and limits, are those that are written down.

They are what a lab's study files mean. After a change that is meant, write them down anew with
`python tests/tune/test_study_file_keys.py`, and read the difference.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tune.config.study_file import StudyFile

KEYS = Path(__file__).with_name("study_file_keys.txt")


def keys() -> list[str]:
    """Return a line a key, such as `DistillConfig.lambda_id: default 0.1, minimum 0, number`."""
    schema = StudyFile.model_json_schema()
    sections = {"StudyFile": schema, **schema["$defs"]}
    return [
        f"{name}.{key}: {', '.join(sorted(told(said)))}"
        for name, section in sorted(sections.items())
        for key, said in section.get("properties", {}).items()
    ]


def told(said: dict[str, Any]) -> list[str]:
    """Return what a schema says of a key, without its descriptions."""
    left_out = {"title", "description", "discriminator"}
    return [
        str(value) if word == "type" else f"{word} {json.dumps(value, sort_keys=True)}"
        for word, value in said.items()
        if word not in left_out
    ]


def test_the_keys_of_a_study_file_are_those_that_are_written_down() -> None:
    assert keys() == KEYS.read_text(encoding="utf-8").splitlines()


if __name__ == "__main__":
    KEYS.write_text("\n".join(keys()) + "\n", encoding="utf-8")
