"""The sealed test roles: a look is an event first, then they are opened and scored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from refkd.errors import RefKDError
from refkd.evaluation.predictions import Frozen
from refkd.evaluation.submission import write_submission
from refkd.files import scratch, write_json
from refkd.training.export import FrozenStudent
from refkd.training.imported.teacher import ImportedTeacher
from tune.config.study_file import StudyFile
from tune.execution.study_jobs import OpenSearch, open_ended_search
from tune.results.champions import search_students
from tune.results.comparison import compare, open_students, system_name
from tune.results.finalists import read_results
from tune.results.sealed_roles import check_sealed, open_test_roles
from tune.results.submission import PREFERRED
from tune.study.events import LookDone, LookTaken
from tune.study.ledger import (
    Evaluated,
    Look,
    check_look,
    is_copy,
    looks_of,
    with_row,
    write_looks,
)
from tune.study.outcomes import (
    RESULTS,
    Finalists,
    FinalReport,
    final_path,
    read_final,
    read_finalists,
)
from tune.study.storage import to_be_continued


def evaluate_final(
    study: StudyFile | Path | str,
    *,
    again: bool = False,
    reason: str | None = None,
    export: Path | None = None,
) -> FinalReport:
    """Score the champions of an ended study and both teachers on the sealed test roles, once.

    A teacher that is imported has no network, so nobody can ask it about them.
    The champions are the finalists' where there are any, else the search's. What can be checked
    without opening a sealed file is checked before the look is begun. One that was killed before
    its results were stored is taken again as the same look; a further one needs `again` and a
    `reason`. The results are an event of the study; `final-N.json` is a copy, which another call
    writes where it is gone. With `export` a student of the champion that answers for the study
    writes its spans there too (`write_submission`).

    Raises as `open_ended_search`, `LedgerError` for an evaluation that is not allowed,
    `RefKDError` where finalists are begun and not ended, `DataError` where sealed files are
    missing. Source: evaluation protocol, "One sealed evaluation".
    """
    with (
        open_ended_search(study) as search,
        scratch(_opened(search.file)) as opened,
        to_be_continued(),
    ):
        file, dataset, teachers = search.file, search.dataset, search.teachers
        attributes = search.study.optuna.user_attrs
        looks = looks_of(file.folder, attributes)
        if not is_copy(file.folder, looks):
            write_looks(file.folder, looks)
        known = read_final(file.folder, attributes, looks)
        unseen = not again and not final_path(file.folder, len(looks)).exists()
        if known is not None and known.look == looks[-1] and unseen:
            if export is not None:
                raise RefKDError(
                    f"the look at the test roles is over, and predictions are written with it; "
                    f"run `refkd evaluate --final {file.name}` without --export to see it"
                )
            return _kept(file, known)  # killed when it had stored them
        check_look(looks, study=file.name, again=again, reason=reason)
        found = _finalists(search)
        aliases = (found or search.summary()).champions
        champions = _students(search, aliases, found)
        if found is not None:
            _check_unchanged(champions, found)
        asked = {r: t for r, t in teachers.items() if not isinstance(t, ImportedTeacher)}
        systems: list[Frozen] = [*asked.values(), *chain(*champions.values())]
        for frozen in systems:
            frozen.backbone(dataset)  # weights that cannot be read must cost no evaluation
        check_sealed(dataset, file.dataset)
        look, roles = open_test_roles(
            looks,
            dataset,
            file.dataset,
            opened,
            study=file.name,
            champions={a: _evaluated(file, n, champions[n]) for a, n in aliases.items()},
            teachers={role: teacher.digest for role, teacher in teachers.items()},
            reason=reason,
            begin=partial(_begin, search),
        )
        if export is not None:
            alias = next(name for name in PREFERRED if name in aliases)
            answering = champions[aliases[alias]][found.kept[alias] if found else 0]
            write_submission(export, answering.backbone(dataset), roles)
        students = {system_name(n): one for n, one in champions.items()}
        done = look.model_copy(update={"state": "done"})
        report = FinalReport(
            looks=with_row(looks, done),
            from_finalists=found is not None,
            seeds={alias: len(champions[number]) for alias, number in aliases.items()},
            features=dataset.manifest.features.extractor or "extractor not stated",
            comparison=compare(students, asked, dataset, roles, seed=file.seed),
            marks=file.caveats(),
        )
        results = report.model_dump(mode="json", include=RESULTS)
        search.study.append(
            LookDone(look=look.look, row=done.model_dump(mode="json"), results=results)
        )
        return _kept(file, report)


def _begin(search: OpenSearch, row: Look) -> None:
    """Store that a look begins; what a killed attempt has stored of it stays."""
    search.study.append(LookTaken(look=row.look, row=row.model_dump(mode="json")))
    folder = search.file.folder
    write_looks(folder, looks_of(folder, search.study.optuna.user_attrs))


def _kept(file: StudyFile, report: FinalReport) -> FinalReport:
    """Write the copies for people of what the study holds, and return it."""
    write_looks(file.folder, report.looks)
    write_json(final_path(file.folder, report.look.look), report.model_dump(mode="json"))
    return report


def _opened(file: StudyFile) -> Path:
    """Return where sealed files of an address lie while they are scored, and no longer."""
    return file.folder / ".opened"


def _finalists(search: OpenSearch) -> Finalists | None:
    """Return the finalists of the study; None where none were ever begun."""
    attributes, name = search.study.optuna.user_attrs, search.file.name
    found, summary = read_finalists(attributes), search.summary()
    if found is None and read_results(attributes):
        raise RefKDError(
            f"study {name!r} has finalists that are not trained to their end; run "
            "`refkd finalists` again, then evaluate"
        )
    if found is not None and summary.outgrown:
        raise RefKDError(
            f"study {name!r} had {found.trials} trials when its finalists were "
            f"chosen, now {summary.ended}; run `refkd finalists` again, then evaluate"
        )
    return found


def _students(
    search: OpenSearch, aliases: Mapping[str, int], found: Finalists | None
) -> dict[int, list[FrozenStudent]]:
    """Return the students of each champion by its number, on fresh seeds where there are any."""
    if found is None:
        own = search_students(search)
        return {aliases[alias]: own[alias] for alias in sorted(own, key=aliases.__getitem__)}
    folder = search.file.folder
    return {
        number: open_students(folder, [number], found.students(number), finalist=True)
        for number in sorted({*aliases.values()})
    }


def _check_unchanged(champions: Mapping[int, list[FrozenStudent]], found: Finalists) -> None:
    rows = {row.trial: row for row in found.finalists}
    for number, students in champions.items():
        for student, result in zip(students, rows[number].runs, strict=True):
            if student.record.sha256 != result.sha256:
                raise RefKDError(
                    f"{student.folder}: is another student than the finalist of trial {number} "
                    "that was scored; restore the folder from a copy"
                )


def _evaluated(file: StudyFile, trial: int, students: list[FrozenStudent]) -> Evaluated:
    hashes = {str(s.folder.relative_to(file.folder)): s.record.sha256 for s in students}
    return Evaluated(trial=trial, students=hashes)
