"""Passwords in URLs: put in where a URL is used, and in nothing that is stored or shown."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from refkd.data.dataset import Dataset
from tune.config.study_file import StudyFile
from tune.config.urls import UrlError, resolve, scrub, without_password
from tune.execution.study_jobs import StudyJobs
from tune.study.request import TrialRequest
from tune.study.storage import StorageError, file_of, open_storage
from tune.tracking.target import target_of

PASSWORD = "REFKD_TEST_PASSWORD"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("journal:/a/b:c@d", "journal:/a/b:c@d"),
        ("sqlite:////a/b:c@d.db", "sqlite:////a/b:c@d.db"),
        ("postgresql://ann@host/db", "postgresql://ann@host/db"),
        ("postgresql://ann:pw@host:5432/db", "postgresql://ann:***@host:5432/db"),
        ("postgresql+psycopg://ann:p@w/x@host/db", "postgresql+psycopg://ann:***@host/db"),
        (
            "postgresql://host/db?user=ann&password=pw",
            "postgresql://host/db?user=ann&password=***",
        ),
        ("postgresql://host/db?sslpassword=pw&a=b", "postgresql://host/db?sslpassword=***&a=b"),
        ("https://ann:${PASSWORD}@host", "https://ann:${PASSWORD}@host"),
        ("https://ann:a${PASSWORD}@host", "https://ann:***@host"),
        ("https://ann:${}@host", "https://ann:***@host"),
        ("${STORAGE}", "${STORAGE}"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1))
def test_no_password_is_shown_whatever_it_holds(password: str) -> None:
    shown = without_password(f"postgresql://ann:<{password}>@host/db")
    assert shown == "postgresql://ann:***@host/db"


@given(password=TEXTS)
def test_a_variable_holds_the_password_as_it_is(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD, password)
        for url in (
            f"postgresql+psycopg://ann:${{{PASSWORD}}}@host:5432/studies?x=y",
            f"postgresql+psycopg://host/studies?user=ann&password=${{{PASSWORD}}}&x=y",
        ):
            parsed = make_url(resolve(url))
            assert password in (parsed.password, parsed.query.get("password"))
            assert parsed.host == "host"
            assert parsed.query["x"] == "y"


def test_a_variable_may_hold_a_part_or_all_of_a_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REFKD_TEST_PLACE", "db.example:5432")
    assert resolve("postgresql://ann@${REFKD_TEST_PLACE}/db") == (
        "postgresql://ann@db.example:5432/db"
    )
    monkeypatch.setenv("REFKD_TEST_PLACE", f"journal:{tmp_path / 'a b@c.journal'}")
    assert file_of("${REFKD_TEST_PLACE}") == tmp_path.resolve() / "a b@c.journal"


@pytest.mark.parametrize("url", ["sqlite:///a.db", "https://host/$NAME", "journal:/a/${b", ""])
def test_what_names_no_variable_stays_as_it_is(url: str) -> None:
    assert resolve(url) == url


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    url = f"postgresql://ann:${{{PASSWORD}}}@host/db?sslpassword=written-out"
    with pytest.raises(UrlError, match=rf"export {PASSWORD}, then run") as caught:
        open_storage(url)
    assert "written-out" not in str(caught.value)


@given(password=TEXTS.filter(lambda text: len(text) > 3 and "*" not in text))
def test_what_others_say_is_scrubbed(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD, password)
        url = f"https://ann:${{{PASSWORD}}}@host"
        told = f"<{password}> and <{resolve(url)}>"
        assert scrub(told, url) == "<***> and <https://ann:***@host>"
        assert scrub("nothing of it", "https://host") == "nothing of it"


def test_a_refused_connection_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, "s3cret")
    with pytest.raises(StorageError, match="check host, port, user and password") as caught:
        open_storage(f"postgresql://ann:${{{PASSWORD}}}@127.0.0.1:9/db")
    assert "s3cret" not in str(caught.value)


def forms(file: StudyFile, dataset: Dataset) -> Mapping[str, object]:
    """Return the ways in which a study file leaves the process that read it."""
    jobs = StudyJobs(file, dataset)
    trial = jobs.trial(TrialRequest(number=0, values={"distill.lambda_id": 0.5}, attempt=1))
    return {
        "written": file.model_dump_json(),
        "told": file.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "printed": f"{file!r} {file}",
        "worker": pickle.dumps((jobs.place, trial, *jobs.teachers.values())),
        "target": repr(target_of(file, "abc")),
    }


def test_a_password_that_is_written_out_leaves_with_nothing(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = StudyFile.model_validate(
        {
            "name": "quick",
            "dataset": str(tiny_dataset.path),
            "workspace": str(tmp_path),
            "space": {"distill.lambda_id": {"float": [0.1, 1.0]}},
            "storage": "postgresql://ann:s3cret@host/db",
            "tracking": {"uri": "https://ann:s3cret@host"},
        }
    )
    assert file.storage == "postgresql://ann:s3cret@host/db"
    for way, form in forms(file, tiny_dataset).items():
        assert "s3cret" not in str(form), way
    assert "https://ann:***@host" in str(forms(file, tiny_dataset)["written"])
