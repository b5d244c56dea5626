"""The card of a registered student: what it was made of, how good it is, what it is not for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from refkd.data.dataset import Dataset
from refkd.data.manifest import Manifest
from refkd.evaluation.comparison import MEANING, Row, means
from refkd.evaluation.floors import bias_floors
from refkd.training.validation import VALIDATION_ROLES
from tune.study.environment import Environment

CONVENTION = (
    "Percent on the validation roles. Times are seconds, truth and prediction are clamped to the "
    f"video, a hit is tIoU >= m, every pair counts. {MEANING}"
)
_NAMES = {"miou": "mIoU", "r1_iou0.3": "R1@0.3", "r1_iou0.5": "R1@0.5", "r1_iou0.7": "R1@0.7"}
Scores = Mapping[str, Row]
"""By role and metric."""


def model_card(
    study: str,
    number: int,
    run: str,
    dataset: Dataset,
    scores: Scores,
    *,
    code: Environment | None = None,
    caveats: Sequence[str] = (),
) -> str:
    """Return the card in Markdown of the student that a run of a study made.

    `code` is what it was made with; `caveats`, why its scores are not to be taken at face value,
    come first.
    """
    manifest = dataset.manifest
    return "\n".join(
        [
            f"# Student of trial {number}, study {study}",
            "",
            "Finds the moment of a sentence in a video (RefKD: a student distilled from two "
            f"frozen teachers). Made by the run `{run}`.",
            *([] if code is None else [f"Code: {code}."]),
            "",
            *(f"**Beware.** {caveat}.\n" for caveat in caveats),
            "## Training data",
            *_data(manifest),
            "",
            "## Scores",
            CONVENTION,
            "",
            *_table(scores, _floors(dataset)),
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
            f"- At most {manifest.max_clips} clips: longer videos are pooled. Words outside "
            "the vocabulary have no vector of their own.",
            "- It always answers, also where the moment is not in the video.",
            "- Features of another network, frame rate or normalisation give numbers without "
            "meaning, and no error.",
            "",
        ]
    )


def _data(manifest: Manifest) -> list[str]:
    counts = {role: manifest.roles[role] for role in ("fit", *VALIDATION_ROLES)}
    use = {"fit": "weights", "val_id": "choice, in distribution", "val_ood": "choice, out of it"}
    return [
        f"- {manifest.name}, fingerprint `{manifest.fingerprint}`",
        *(["- simulated: its scores say nothing of real videos"] if manifest.simulation else []),
        *(
            f"- `{role}`: {count.pairs:,} pairs of {count.videos:,} videos ({use[role]})"
            for role, count in counts.items()
        ),
        "- `test_id`, `test_ood`: sealed, never read by a search",
        f"- features: {manifest.features.extractor or 'extractor not stated'}, "
        f"{manifest.features.dim} numbers, {manifest.features.rows_per_second:.3g} rows a second",
        f"- words: {manifest.words.source}, {manifest.words.words:,} words",
    ]


def _floors(dataset: Dataset) -> dict[str, dict[str, float]]:
    """Return the best score of a predictor that sees no video, by role and metric."""
    found: dict[str, dict[str, float]] = {}
    for role in VALIDATION_ROLES:
        floors = bias_floors(dataset.role("fit"), dataset.role(role)).values()
        scores = [means(floor) for floor in floors]
        found[role] = {metric: max(held[metric] for held in scores) for metric in _NAMES}
    return found


def _table(scores: Scores, floors: Mapping[str, Mapping[str, float]]) -> list[str]:
    rows = ["| role | metric | student | bias floor |", "| --- | --- | --- | --- |"]
    for role, row in scores.items():
        for metric in (name for name in _NAMES if name in row):
            floor = floors.get(role, {}).get(metric)
            rows.append(
                f"| `{role}` | {_NAMES[metric]} | {row[metric].text()} | "
                f"{'' if floor is None else f'{floor:.2f}'} |"
            )
    return rows
