"""Teachers from elsewhere, imported by the driver before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock

from refkd.data.dataset import Dataset
from refkd.errors import RefKDError
from refkd.files import temporaries
from refkd.training.imported.answer_file import require_answers
from refkd.training.imported.answers import read_answers
from refkd.training.imported.teacher import examine_answers, imported_address
from refkd.training.knowledge import make_knowledge
from refkd.training.teacher import find_teacher
from refkd.urls import Url
from tune.config.study_file import StudyFile
from tune.execution.progress import Reporter


@dataclass(frozen=True, kw_only=True)
class TeacherImport:
    """A file of answers, and the folder of the teacher that it is."""

    role: str
    file: Path
    folder: Path

    @classmethod
    def of(cls, role: str, file: Path, dataset: Dataset, workspace: Path) -> Self:
        """Return the import of a file, whose folder is shared by all studies that name it."""
        address = imported_address(file, dataset)
        return cls(role=role, file=file, folder=workspace.absolute() / "teachers" / address)


Imports = Mapping[str, TeacherImport]
"""By role."""


def check_imports(file: StudyFile) -> None:
    """Raise `DataError` where the answers that a study names are none, before it is begun.

    A dataset that is yet to be simulated has no pairs to hold them against.
    """
    for role, path in file.imported.items():
        require_answers(path)
        if isinstance(file.dataset, Url) or file.dataset.exists():
            dataset = Dataset.open(file.dataset, verify=False)
            one = TeacherImport.of(role, path, dataset, file.workspace)
            if find_teacher(one.folder) is None:
                read_answers(path, dataset)


def check_apart(imports: Imports) -> None:
    """Raise `RefKDError` where both teachers are one."""
    folders = {one.folder for one in imports.values()}
    if len(folders) < len(imports):
        files = " and ".join(str(one.file) for one in imports.values())
        raise RefKDError(
            f"teachers.id and teachers.ood are the same answers ({files}), so that there is but "
            "one teacher; give another file for one of them, or train it here"
        )


def check_same(imports: Imports, begun: Mapping[str, str], study: str) -> None:
    """Raise `RefKDError` where a study was begun with another teacher than a file is.

    `begun` are the names of the folders of its teachers, by role.
    """
    for role, one in imports.items():
        if begun.get(role, one.folder.name) != one.folder.name:
            raise RefKDError(
                f"{one.file}: is not the {role} teacher that study {study!r} was begun with, so "
                "its trials could not be compared; put that file back, or give the study another "
                "name"
            )


def import_missing(
    imports: Imports, dataset: Dataset, knowledge: Path, reporter: Reporter
) -> None:
    """Import the teachers that are not there yet, and make their knowledge.

    `DataError` names what is wrong with a file before anything of it is written.
    """
    for role, one in imports.items():
        if find_teacher(one.folder) is None:
            reporter.stage(f"importing teacher {role} from {one.file}")
            examined = examine_answers(one.file, dataset)
            one.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(one.folder / "training.lock"):
                for path in temporaries(one.folder):  # of a writer that was killed
                    path.unlink()
                examined.write(one.folder)
        teacher = find_teacher(one.folder)
        assert teacher is not None
        make_knowledge(teacher, dataset, knowledge)
