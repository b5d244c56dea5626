"""Every study file that ships, and every part of one in the docs, is accepted by a search."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from support.project import ROOT, project_files

from tune.config.study_file import StudyFile, load_study_file

FOLDERS = (ROOT / "studies", ROOT / "tune" / "templates")
PARTS = [
    (path, text)
    for path in project_files(".md")
    for text in re.findall(
        r"^```yaml\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
]
LEAST = {"name": "a", "dataset": "b", "space": {"distill.lambda_id": {"float": [0.1, 1.0]}}}
STUDIES = [p for p in project_files(".yaml", ".yml") if set(FOLDERS) & set(p.parents)]


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_study_file_loads(path: Path) -> None:
    assert load_study_file(path).name


def test_the_quickstart_and_the_template_are_among_them() -> None:
    assert {FOLDERS[0] / "quickstart.yaml", FOLDERS[1] / "study.yaml"} <= set(STUDIES)


def test_no_two_studies_share_a_name() -> None:
    names = [load_study_file(path).name for path in STUDIES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "text"), PARTS, ids=lambda p: getattr(p, "name", ""))
def test_a_part_of_a_study_file_in_the_docs_is_one(path: Path, text: str) -> None:
    assert StudyFile.model_validate({**LEAST, **yaml.safe_load(text)})


def test_the_docs_show_parts_of_study_files() -> None:
    assert {"method.md", "search.md"} <= {path.name for path, _ in PARTS}
