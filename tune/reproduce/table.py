"""A table for people and programs: Markdown, CSV, LaTeX, and the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from refkd.evaluation.comparison import MEANING, Figure, Row
from tune.reproduce.experiments import Experiment
from tune.reproduce.paper import printed
from tune.reproduce.scores import SIDES, Scored
from tune.results.probe_rows import PROBE_HEADS, probe_row

HEADS = {
    "r1_iou0.3": "R1@0.3",
    "r1_iou0.5": "R1@0.5",
    "r1_iou0.7": "R1@0.7",
    "miou": "mIoU",
}
CSV_COLUMNS = (
    *("table", "system", "side", "metric", "value", "low", "high", "sd", "seeds"),
    *("paper", "mark", "convention"),
)
CONVENTION = (
    "percent; seconds, truth and prediction clamped to the video, a hit is tIoU >= m, every "
    "annotated pair counts"
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What stands around the numbers."""

    command: str
    """What to type for the same table."""
    dataset: str
    family: str | None
    """Whose printed numbers stand beside ours."""
    scale: str
    seeds: int
    marks: Mapping[str, str]
    """By row: why its name is not to be taken at its word (reconstruction, leakage)."""
    subset: str | None
    """What part of the published dataset this is; None for all of it."""
    simulated: bool
    """Whether the features were made from the annotations."""
    looks: tuple[str, ...]
    """Every look at the test roles; empty where validation is shown."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row: ours and the paper's by side and metric."""

    label: str
    mark: str
    ours: Mapping[tuple[str, str], Figure]
    paper: Mapping[tuple[str, str], float]


def lines(experiment: Experiment, scored: Scored, facts: Facts) -> list[Line]:
    """Return the rows of a table in the paper's order."""
    return [
        Line(
            label=label,
            mark=facts.marks.get(label, ""),
            ours={(s, m): cells[s][m] for s in SIDES for m in experiment.metrics},
            paper=printed(facts.family, experiment.paper, label) if experiment.paper else {},
        )
        for label, cells in scored.rows.items()
    ]


def notes(experiment: Experiment, scored: Scored, facts: Facts) -> list[str]:
    """Return the sentences below a table."""
    roles = " and ".join(f"{scored.roles[s]} ({scored.pairs[s]:,} pairs)" for s in SIDES)
    seeds = f"{facts.seeds} seeds" if facts.seeds > 1 else "1 seed"
    said = [
        f"Made by `{facts.command}`; every row's settings: settings.yaml, its runs: runs.jsonl.",
        f"{facts.dataset}, scale {facts.scale}, {seeds} a row; {roles}; {CONVENTION}.",
        f"Cell: mean ± standard deviation over seeds, and interval. {MEANING} Teachers and "
        "student of a seed belong together.",
    ]
    if facts.subset:
        said.append(f"Subset: {facts.subset}. The paper's numbers are of the whole dataset.")
    if facts.simulated:
        said.append(
            "Simulated: the features were made from the annotations, no video was looked at; only "
            "differences between rows of this table mean anything."
        )
    if experiment.paper and facts.family:
        split = "test_id and test_ood"
        said.append(f"paper: as printed there, on {split}, one seed, convention not stated.")
    said += [f"{label}: {mark}." for label, mark in facts.marks.items()]
    said += [f"Test roles: {look}." for look in facts.looks]
    floors = "; ".join(
        f"{side.upper()} {max(values.values()):.2f}" for side, values in scored.floors.items()
    )
    said.append(f"Best predictor that never sees the video, mIoU: {floors}.")
    for claim in scored.claims:
        said.append(_claimed(claim.student, claim.verdict, claim.differences))
    for label, cells in scored.ablations.items():
        parts = ", ".join(
            f"{side.upper()} {cells[side]['miou'].text(sign=True)}" for side in SIDES
        )
        said.append(f"{label} - RefKD (mIoU, paired): {parts}")
    return said


def _claimed(student: str, verdict: str, differences: Mapping[str, Mapping[str, Row]]) -> str:
    parts = [
        f"{side.upper()} against the {teacher.upper()} teacher "
        f"{cells[side]['miou'].text(sign=True)}"
        for side in SIDES
        for teacher, cells in differences.items()
    ]
    return (
        f'{student}, "at least as good as both teachers on both" (mIoU, paired): {verdict}; '
        + "; ".join(parts)
    )


def markdown(experiment: Experiment, table: list[Line], below: list[str]) -> str:
    """Return the table as Markdown, its notes below."""
    heads = [f"{s.upper()} {HEADS[m]}" for s in SIDES for m in experiment.metrics]
    rows = [["system", *heads], ["---", *["---:"] * len(heads)]]
    for line in table:
        rows.append([name_of(line), *(figure.text(spread=True) for figure in line.ours.values())])
        if line.paper:
            rows.append(["*paper*", *(f"*{printed_cell(line, key)}*" for key in line.ours)])
    title, notes = f"# {experiment.title}", [f"- {note}" for note in below]
    return "\n".join([title, "", *_piped(rows), "", *notes, ""])


_PROBED = """## Bias probes

mIoU of each row's first seed with everything in sight, with every query the same unknown word,
with all features zero, and with the clips of each video in a random order. A score that survives
is reached from where moments usually lie. By place of the moment: in the JSON file.
"""


def probe_table(scored: Scored) -> str:
    """Return the bias probes as Markdown: mIoU with everything, and without something."""
    rows = [["system", *PROBE_HEADS], ["---", *["---:"] * len(PROBE_HEADS)]]
    rows += [[label, *probe_row(found.model_dump())] for label, found in scored.probes.items()]
    return "\n".join([_PROBED, *_piped(rows), ""])


def _piped(rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in rows]


def comma_separated(experiment: Experiment, table: list[Line], facts: Facts) -> str:
    """Return a cell a row, for programs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for line in table:
        for (side, metric), cell in line.ours.items():
            numbers = [cell.value, cell.low, cell.high, cell.sd]
            writer.writerow(
                [
                    experiment.name,
                    line.label,
                    side,
                    metric,
                    *("" if n is None else f"{n:.4f}" for n in numbers),
                    facts.seeds,
                    line.paper.get((side, metric), ""),
                    line.mark,
                    CONVENTION,
                ]
            )
    return out.getvalue()


def latex(experiment: Experiment, table: list[Line], below: list[str]) -> str:
    """Return the table for a paper that uses booktabs."""
    count = len(SIDES) * len(experiment.metrics)
    heads = " & ".join(f"{s.upper()} {HEADS[m]}" for s in SIDES for m in experiment.metrics)
    body = []
    for line in table:
        cells = " & ".join(_tex_cell(cell) for cell in line.ours.values())
        body.append(f"{_tex(name_of(line))} & {cells} \\\\")
        if line.paper:
            told = " & ".join(printed_cell(line, key) for key in line.ours)
            body.append(f"\\quad paper & {told} \\\\")
    return "\n".join(
        [
            *(f"% {note}" for note in below),
            f"\\begin{{tabular}}{{l{'r' * count}}}",
            "\\toprule",
            f"system & {heads} \\\\",
            "\\midrule",
            *body,
            "\\bottomrule",
            "\\end{tabular}",
            "",
        ]
    )


def name_of(line: Line) -> str:
    return f"{line.label} ({line.mark})" if line.mark else line.label


def _tex_cell(figure: Figure) -> str:
    if figure.sd is None:
        return f"{figure.value:.2f}"
    return f"${figure.value:.2f} \\pm {figure.sd:.2f}$"


def _tex(text: str) -> str:
    return text.replace("&", "\\&").replace("%", "\\%").replace("_", "\\_")


def printed_cell(line: Line, key: tuple[str, str]) -> str:
    return f"{line.paper[key]:.2f}" if key in line.paper else "–"
