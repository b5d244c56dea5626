"""A handful of validation queries: what was asked, the truth, and what each system answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.evaluation.compat import DEFAULT
from refkd.evaluation.predictions import Frozen
from refkd.training.teacher import find_teacher
from refkd.training.validation import edges_to_seconds, predict_edges
from tune.display.console import aliases_of
from tune.results.submission import champion_student
from tune.study.snapshot import StudySnapshot

RULE = (
    "Chosen by rule, not by hand, in each validation role: the query where the champion gains "
    "most over the better teacher, the one with its median overlap, and the one where it loses "
    "most."
)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A span of a video, in seconds."""

    name: str
    kind: str
    """`truth`, `id`, `ood` or `champion`."""
    start: float
    end: float
    tiou: float | None
    """Overlap with the truth; none for the truth itself."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One query."""

    why: str
    role: str
    query: str
    video: str
    duration: float
    bars: list[Bar]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The queries, or why there are none."""

    text: str
    items: list[Example]


def examples(study: StudySnapshot) -> Examples:
    """Let both teachers and a champion answer the validation queries, and pick some.

    What cannot be opened any more, such as a dataset that was moved, is said instead.
    """
    if not study.champions:
        return Examples(text="No champion yet, so there are no answers to compare.", items=[])
    try:
        return _answered(study)
    except (RefKDError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".:")
        return Examples(text=f"The queries cannot be answered any more: {reason}.", items=[])


def _answered(study: StudySnapshot) -> Examples:
    dataset = Dataset.open(study.file.dataset)
    if dataset.fingerprint != study.attributes.get("dataset"):
        raise RefKDError(f"{dataset.path}: is another dataset than the one of the search")
    systems: dict[str, Frozen] = {}
    for role, folder in study.teacher_folders().items():
        teacher = find_teacher(folder)
        if teacher is None:
            raise RefKDError(f"{folder}: the {role} teacher is gone")
        systems[role] = teacher
    _, number, systems["champion"] = champion_student(study)
    names = {"truth": "truth", **{role: f"{role.upper()} teacher" for role in systems}}
    names["champion"] = f"trial {number}"
    items = [
        example
        for role in ("val_id", "val_ood")
        for example in _of_role(dataset, role, systems, names)
    ]
    who = f"The champion is trial {number} ({aliases_of(study.champions)[number]})."
    return Examples(text=f"{RULE} {who}", items=items)


def _of_role(
    dataset: Dataset, role: str, systems: Mapping[str, Frozen], names: Mapping[str, str]
) -> list[Example]:
    pairs = dataset.role(role)  # type: ignore[arg-type]
    spans, overlaps = {"truth": np.empty((len(pairs), 2))}, {}
    windows = DEFAULT.windows(pairs)
    for kind, frozen in systems.items():
        edges = predict_edges(frozen.backbone(dataset), pairs)
        spans[kind] = DEFAULT.adjusted(edges_to_seconds(edges, pairs), pairs)
        # Of several windows the champion's is shown, which comes last.
        overlaps[kind], spans["truth"] = DEFAULT.matched(spans[kind], windows)
    teachers = [held for kind, held in overlaps.items() if kind != "champion"]
    return [
        Example(
            why=why,
            role=role.removeprefix("val_").upper(),
            query=pairs.queries[row],
            video=pairs.video_ids[row],
            duration=float(pairs.duration[row]),
            bars=[
                Bar(
                    name=names[kind],
                    kind=kind,
                    start=float(held[row][0]),
                    end=float(held[row][1]),
                    tiou=float(overlaps[kind][row]) if kind in overlaps else None,
                )
                for kind, held in spans.items()
            ],
        )
        for why, row in choose_rows(overlaps["champion"], teachers).items()
    ]


def choose_rows(
    champion: NDArray[np.float64], teachers: list[NDArray[np.float64]]
) -> dict[str, int]:
    """Return the rows that `RULE` picks by what they show; equals go to the lower row.

    `champion` and each of `teachers` are (N,) overlaps with the truth. A row is shown once.

    >>> import numpy as np
    >>> choose_rows(np.array([0.9, 0.5, 0.1]), [np.array([0.2, 0.5, 0.6])])
    {'largest gain': 0, 'median': 1, 'largest loss': 2}
    """
    gain = champion - np.max(teachers, axis=0)
    by_gain = np.argsort(-gain, kind="stable").tolist()
    by_overlap = np.argsort(champion, kind="stable").tolist()
    middle = len(by_overlap) // 2
    wanted = {
        "largest gain": by_gain,
        "median": by_overlap[middle:] + by_overlap[:middle],
        "largest loss": by_gain[::-1],
    }
    rows: dict[str, int] = {}
    for why in ("largest gain", "largest loss", "median"):
        free = [row for row in wanted[why] if row not in rows.values()]
        if free:
            rows[why] = free[0]
    return {why: rows[why] for why in wanted if why in rows}
