"""Every study file that ships is one that `refkd search` accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import ROOT, project_files

from tune.spec.study_file import load_study_file

FOLDERS = (ROOT / "studies", ROOT / "tune" / "templates")
STUDIES = [p for p in project_files(".yaml", ".yml") if set(FOLDERS) & set(p.parents)]


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_study_file_loads(path: Path) -> None:
    assert load_study_file(path).name


def test_the_quickstart_and_the_template_are_among_them() -> None:
    assert {FOLDERS[0] / "quickstart.yaml", FOLDERS[1] / "study.yaml"} <= set(STUDIES)


def test_no_two_studies_share_a_name() -> None:
    names = [load_study_file(path).name for path in STUDIES]
    assert len(set(names)) == len(names)
