"""A user whom the machine does not know, and a home that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refkd.files import user_cache
from tune import compat
from tune.execution.token import token_without_home
from tune.study.lease import Driver
from tune.study.user import name_the_user, user_name

CODE = "import sys; from tune.cli import main; sys.argv[0] = 'refkd'; main()"
NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user without a name in the environment and without an entry of the machine."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)


@pytest.mark.usefixtures("nameless")
def test_a_user_without_a_name_is_called_by_number() -> None:
    assert user_name() == f"uid-{os.getuid()}"
    assert Driver.me().user == user_name()


@pytest.mark.usefixtures("nameless")
def test_what_asks_the_environment_finds_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "")  # so that it is put back
    monkeypatch.delenv("LOGNAME")
    name_the_user()
    assert os.environ["LOGNAME"] == f"uid-{os.getuid()}"
    monkeypatch.setenv("LOGNAME", "ann")
    name_the_user()
    assert os.environ["LOGNAME"] == "ann"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in compat.TOKEN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_ray_keeps_its_token_in_a_home_that_can_be_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert token_without_home() == {}
    monkeypatch.setenv("HOME", str(home / "not yet" / "made"))
    assert token_without_home() == {}


def test_ray_gets_a_token_of_its_own_where_the_home_cannot_be_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    first, second = token_without_home(), token_without_home()
    assert list(first) == ["RAY_AUTH_TOKEN"]
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first != second
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(home / "token"))
    assert token_without_home() == {}


@pytest.mark.usefixtures("nameless")
def test_neither_home_nor_entry(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("tempfile.tempdir", str(home))
    assert list(token_without_home()) == ["RAY_AUTH_TOKEN"]
    assert user_cache() == home / f"refkd-{os.getuid()}"


@pytest.mark.parametrize("utf8", ["0", "1"])
@pytest.mark.parametrize("where", ["folder", "argument", "content"])
def test_a_path_that_the_encoding_cannot_tell_is_one_line_or_none(
    tmp_path: Path, utf8: str, where: str
) -> None:
    folder = tmp_path / ("exp \u00fc" if where == "folder" else "exp")
    folder.mkdir()
    study = folder / ("\u00fc.yaml" if where == "argument" else "study.yaml")
    named = "\u00fc" if where == "content" else "runs"
    study.write_text(f"name: quick\nworkspace: {named}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", CODE, "status", study.name],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": utf8, "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert ("set PYTHONUTF8=1" in line) == (utf8 == "0")
    assert ("has not been begun" in line) == (utf8 == "1")
    assert [path.name for path in folder.iterdir()] == [study.name]


def test_a_folder_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"exp-\xff")
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", CODE, "status", "study.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is no text in the encoding utf-8; rename it" in line
