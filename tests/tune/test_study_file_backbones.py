"""A study file's faults in the section of a backbone: the line, the key, the names there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from refkd.models import NETWORKS
from tune.config.study_file import StudyFileError, load_study_file

STUDY = """name: small
dataset: somewhere
backbone:
  name: {name}
  {key}: 32
  heads: 4
space:
  backbone.heads: {{choice: [4, {heads}]}}
"""


def written(folder: Path, *, name: str, key: str = "hidden", heads: int = 8) -> Path:
    path = folder / "study.yaml"
    path.write_text(STUDY.format(name=name, key=key, heads=heads), encoding="utf-8")
    return path


def test_a_backbone_is_chosen_by_its_name_and_its_keys_can_be_searched(tmp_path: Path) -> None:
    study = load_study_file(written(tmp_path, name="seqpan"))
    assert study.backbone.name == "seqpan"
    student = study.student_config({"backbone.heads": 8}, seed=0)
    assert type(student.backbone) is type(study.backbone)
    assert student.backbone.heads == 8
    assert study.teacher_config("ood").backbone == study.backbone


def test_an_unknown_key_is_named_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, name="seqpan", key="breadth")
    with pytest.raises(StudyFileError) as caught:
        load_study_file(path)
    assert str(caught.value) == f"{path}:5: backbone.breadth: no such key"


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        StudyFileError, match=r"study\.yaml:3: backbone: no backbone has that"
    ) as e:
        load_study_file(written(tmp_path, name="seqpam"))
    assert all(name in str(e.value) for name in NETWORKS)


def test_a_point_of_the_space_that_does_not_fit_names_no_kind(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"not valid: backbone: .*divisible by heads=5"):
        load_study_file(written(tmp_path, name="seqpan", heads=5))
