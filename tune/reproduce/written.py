"""The files of a result: settings, numbers, and a line a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from refkd.files import replaced
from tune.reproduce import table
from tune.reproduce.experiments import Experiment
from tune.reproduce.scores import Scored
from tune.reproduce.table import Facts
from tune.reproduce.units import Units


def write_numbers(
    folder: Path, name: str, asked: Experiment, scored: Scored, facts: Facts
) -> list[Path]:
    """Write the numbers as Markdown, CSV, LaTeX and JSON; return the files."""
    rows, below = table.lines(asked, scored, facts), table.notes(asked, scored, facts)
    texts = {
        f"{name}.md": table.markdown(asked, rows, below) + "\n" + table.probe_table(scored),
        f"{name}.csv": table.comma_separated(asked, rows, facts),
        f"{name}.tex": table.latex(asked, rows, below),
        f"{name}.json": scored.model_dump_json(indent=1) + "\n",
    }
    for file, text in texts.items():
        _write(folder / file, text)
    return [folder / file for file in texts]


def write_settings(
    folder: Path, asked: Experiment, units: Units, facts: Mapping[str, str]
) -> Path:
    """Write every row's configuration and seeds: what one needs to train it again."""
    rows = {
        label: {
            "seeds": [unit.config.seed for unit in row],
            **({"teachers": {r: t.row for r, t in row[0].teachers.items()}} if row else {}),
            **row[0].config.model_dump(mode="json", exclude={"seed"}),
        }
        for label, row in units.rows.items()
    }
    content = {"experiment": asked.name, "title": asked.title, **facts, "rows": rows}
    path = folder / "settings.yaml"
    _write(path, yaml.safe_dump(content, sort_keys=False))
    return path


def write_log(folder: Path, units: Units) -> Path:
    """Write a line a network: its seed, its address, the epoch it kept, metrics and cost."""
    lines = []
    for unit in units.all():
        record = unit.frozen().record
        line = {
            "row": unit.row,
            "replicate": unit.replicate,
            "address": unit.folder.name,
            "epoch": record.epoch,
            "epochs": unit.epochs,
            "metrics": {k: round(v, 6) for k, v in sorted(record.metrics.items())},
        }
        lines.append(json.dumps(line) + "\n")
    path = folder / "runs.jsonl"
    _write(path, "".join(lines))
    return path


def _write(path: Path, text: str) -> None:
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
