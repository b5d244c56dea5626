"""The card of a registered student: what it was made of, how good it is, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from refkd.data.dataset import Dataset
from refkd.data.manifest import Manifest
from refkd.evaluation.comparison import MEANING, Row, means
from refkd.evaluation.floors import bias_floors
from refkd.training.validation import VALIDATION_ROLES
from tune.config.study_file import StudyFile
from tune.study.environment import Environment

CONVENTION = (
    "Percent on the validation roles. Times are seconds, truth and prediction are clamped to the "
    f"video, a hit is tIoU >= m, every pair counts. {MEANING}"
)
_NAMES = {"miou": "mIoU", "r1_iou0.3": "R1@0.3", "r1_iou0.5": "R1@0.5", "r1_iou0.7": "R1@0.7"}


@dataclass(frozen=True, kw_only=True)
class Registration:
    """A student to register, and the alias that is to point at it."""

    alias: str
    trial: int
    run: str
    """Key of the run that made the student."""
    folder: Path
    """Of the exported retriever."""
    scores: Mapping[str, Row]
    """By role and metric."""
    reason: str
    code: Environment | None = None
    """What the student was made with."""
    imported: Mapping[str, str] = field(default_factory=dict)
    """Where teachers come from that were not trained here, in words, by role."""


def model_card(file: StudyFile, dataset: Dataset, student: Registration) -> str:
    """Return the card of a student of a study in Markdown; the study's caveats come first."""
    manifest, code = dataset.manifest, student.code
    unknown = (
        " Words outside the vocabulary have no vector of their own." if manifest.words else ""
    )
    return "\n".join(
        [
            f"# Student of trial {student.trial}, study {file.name}",
            "",
            "Finds the moment of a sentence in a video (RefKD: a student distilled from two "
            f"frozen teachers). Made by the run `{student.run}`.",
            *([] if code is None else [f"Code: {code}."]),
            *(f"{role.upper()} teacher: {origin}." for role, origin in student.imported.items()),
            "",
            *(f"**Beware.** {caveat}.\n" for caveat in file.caveats()),
            "## Training data",
            *_data(manifest),
            "",
            "## Scores",
            CONVENTION,
            "",
            *_table(student.scores, dataset),
            "",
            "The bias floor is the best predictor that looks at no video (a constant, a decile, "
            "a random draw or one word of the query), fitted on `fit`.",
            "",
            "## Intended use",
            f"Clip features of {manifest.features.dim} numbers in order of time, extracted as "
            "those above, an English sentence, and the video's length in seconds. Answers spans "
            "in seconds with scores, the product of the probabilities of start and end; scores of "
            "different videos cannot be compared.",
            "",
            "## Limits",
            "- Chosen by these validation scores, which are therefore optimistic, the more so the "
            "more trials were searched. The test roles were not read; `refkd evaluate --final` "
            "looks at them, once, and its ledger says so.",
            f"- At most {manifest.max_clips} clips: longer videos are pooled.{unknown}",
            "- It always answers, also where the moment is not in the video.",
            "- Features of another network, frame rate or normalisation give numbers without "
            "meaning, and no error.",
            "",
        ]
    )


def _data(manifest: Manifest) -> list[str]:
    words, text = manifest.words, manifest.text
    counts = {role: manifest.roles[role] for role in ("fit", *VALIDATION_ROLES)}
    use = {"fit": "weights", "val_id": "choice, in distribution", "val_ood": "choice, out of it"}
    return [
        f"- {manifest.name}, fingerprint `{manifest.fingerprint}`",
        *(["- simulated: its scores say nothing of real videos"] if manifest.simulation else []),
        *(
            f"- `{role}`: {count.pairs:,} pairs of {count.videos:,} videos ({use[role]})"
            for role, count in counts.items()
        ),
        f"- `test_id`, `test_ood`: {manifest.no_test or 'sealed, never read by a search'}",
        f"- features: {manifest.features.extractor or 'extractor not stated'}, "
        f"{manifest.features.dim} numbers, {manifest.features.rows_per_second:.3g} rows a second",
        *([] if words is None else [f"- words: {words.source}, {words.words:,} words"]),
        *([] if text is None else [f"- text: {text.extraction or 'extractor not stated'}"]),
    ]


def _table(scores: Mapping[str, Row], dataset: Dataset) -> list[str]:
    rows = ["| role | metric | student | bias floor |", "| --- | --- | --- | --- |"]
    for role in VALIDATION_ROLES:
        row = scores.get(role, {})
        fitted = bias_floors(dataset.role("fit"), dataset.role(role)).values()
        floors = [means(floor) for floor in fitted]
        for metric in (name for name in _NAMES if name in row):
            best, shown = max(floor[metric] for floor in floors), row[metric].text()
            rows.append(f"| `{role}` | {_NAMES[metric]} | {shown} | {best:.2f} |")
    return rows
