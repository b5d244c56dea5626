"""What keeps a search from beginning leaves no study behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from refkd.errors import DataError
from tune import search


def test_a_dataset_that_is_not_there_is_no_launch(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    content = {
        "name": "early",
        "dataset": str(tmp_path / "absent"),
        "workspace": str(tmp_path / "runs"),
        "space": {"distill.lambda_id": {"float": [0.01, 1.0]}},
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(DataError, match="absent"):
        search(path)
    assert not (tmp_path / "runs").exists()
