"""URLs: the password is put in where one is used, and stands in nothing that is shown or kept."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import URL, make_url

from refkd.data.dataset import Dataset
from refkd.errors import DataError, RefKDError
from refkd.masking import masked
from refkd.urls import Url, UrlError
from tune.config.study_file import StudyFile
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
        ("https://token@host/path", "https://***@host/path"),
        ("https://host/path@v1", "https://host/path@v1"),
        ("https://:pw@host", "https://:***@host"),
        ("ann:pw@host/db", "ann:***@host/db"),
        ("postgresql:/ann:pw@host/db", "postgresql:/ann:***@host/db"),
        ("postgresql:ann:pw@host/db", "postgresql:***@host/db"),
        ("postgresql:///ann:pw@host/db", "postgresql:///ann:***@host/db"),
        ("postgresql://corp/ann:pw@host/db", "postgresql://corp/ann:***@host/db"),
        ("host=h password=pw", "host=h password=***"),
        ("https://host/?api_key=pw&a=b", "https://host/?api_key=***&a=b"),
        ("https://host/#token=pw", "https://host/#token=***"),
        (
            "s3://bucket/a?endpoint_override=http%3A%2F%2Fann%3Apw%40host",
            "s3://bucket/a?endpoint_override=***",
        ),
        ("s3://KEY:se/cr+et@bucket/path", "s3://KEY:***@bucket/path"),
        ("models:/name@alias", "models:/name@alias"),
        ("https://ann:a${PASSWORD}@host", "https://ann:***@host"),
        ("https://ann:${}@host", "https://ann:***@host"),
        ("${STORAGE}", "${STORAGE}"),
    ],
)
def test_what_is_shown(url: str, shown: str) -> None:
    assert str(Url(url)) == shown


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1))
def test_no_password_is_shown_whatever_it_holds(password: str) -> None:
    shown = str(Url(f"postgresql://ann:<{password}>@host/db"))
    assert shown == "postgresql://ann:***@host/db"


@given(password=TEXTS)
def test_a_variable_holds_the_password_as_it_is(password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSWORD, password)
        for url in (
            f"postgresql+psycopg://ann:${{{PASSWORD}}}@host:5432/studies?x=y",
            f"postgresql+psycopg://host/studies?user=ann&password=${{{PASSWORD}}}&x=y",
        ):
            parsed = make_url(Url(url).reveal())
            assert password in (parsed.password, parsed.query.get("password"))
            assert parsed.host == "host"
            assert parsed.query["x"] == "y"


def test_a_variable_may_hold_a_part_or_all_of_a_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REFKD_TEST_PLACE", "db.example:5432")
    assert Url("postgresql://ann@${REFKD_TEST_PLACE}/db").reveal() == (
        "postgresql://ann@db.example:5432/db"
    )
    monkeypatch.setenv("REFKD_TEST_PLACE", f"journal:{tmp_path / 'a b@c.journal'}")
    assert file_of("${REFKD_TEST_PLACE}") == tmp_path.resolve() / "a b@c.journal"


@pytest.mark.parametrize("url", ["sqlite:///a.db", "https://host/$NAME", "journal:/a/${b", ""])
def test_what_names_no_variable_stays_as_it_is(url: str) -> None:
    assert Url(url).reveal() == url


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    url = f"postgresql://ann:${{{PASSWORD}}}@host/db?sslpassword=written-out"
    with pytest.raises(UrlError, match=rf"export {PASSWORD}, then run") as caught:
        open_storage(url)
    assert "written-out" not in str(caught.value)


@given(
    password=st.text(st.characters(codec="ascii", exclude_categories=["C", "Z"]), min_size=1),
    around=st.tuples(*[st.text(st.characters(codec="ascii", exclude_categories=["C"]))] * 2),
)
def test_what_others_say_is_masked_wherever_a_url_stands_in_it(
    password: str, around: tuple[str, str]
) -> None:
    told = masked(f"{around[0]} https://ann:<{password}>@host/api {around[1]}")
    assert "https://ann:***@host/api" in told
    assert "<" + password + ">" not in told.replace(around[0], "").replace(around[1], "")


@pytest.mark.parametrize("password", ["p", "password", "host", "401"])
def test_no_other_word_is_hidden_whatever_the_password_is(password: str) -> None:
    said = f"password of host https://ann:{password}@host:5000/api refused: 401, please try 'p'"
    assert masked(said) == said.replace(f":{password}@", ":***@")
    error = RefKDError(said)
    assert str(error) == masked(said)
    assert str(pickle.loads(pickle.dumps(error))) == masked(said)


@pytest.mark.parametrize(
    "leave",
    [
        str, repr, format, lambda url: f"{url:>80}", lambda url: "%s" % url,  # noqa: UP031
        lambda url: str([url]), pickle.dumps, lambda url: repr(vars(StudyPlaceLike(url))),
        lambda url: copy.deepcopy(url).__reduce__(), lambda url: UrlError(f"{url}: no"),
    ],
)  # fmt: skip
def test_no_way_out_of_a_url_shows_its_password(leave: Callable[[Url], object]) -> None:
    for written in ("postgresql://ann:s3cret@host/db", "https://s3cret@host", "password=s3cret"):
        assert "s3cret" not in str(leave(Url(written)))
        assert copy.deepcopy(Url(written)) == Url(written)  # it is not lost within a process


class StudyPlaceLike:
    """Whatever has a URL as an attribute."""

    def __init__(self, url: Url) -> None:
        self.url = url


@pytest.mark.parametrize(
    "url",
    ["https://ann:p/w@host", "https://ann:p#w@host", "http://ann:p w@h", "postgresql://a:p@w@h/d"],
)
def test_a_password_that_libraries_would_cut_into_pieces_is_refused(url: str) -> None:
    with pytest.raises(UrlError, match=r"write %\w\w for '.', or \$\{NAME\} for the password"):
        Url(url).reveal()


def test_a_url_that_was_kept_cannot_be_used_without_its_password() -> None:
    kept = pickle.loads(pickle.dumps(Url("https://ann:s3cret@host")))
    assert str(kept) == "https://ann:***@host"
    with pytest.raises(UrlError, match="kept without its password; name the study file"):
        kept.reveal()
    plain = Url("https://ann@host/x?y=1")
    assert pickle.loads(pickle.dumps(Url("postgresql://ann@h/x"))).reveal()
    assert plain != kept


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\n"), min_size=1))
def test_the_url_of_a_file_is_that_of_sqlalchemy_and_of_this_file_alone(name: str) -> None:
    path = Path("/tmp") / name
    url = Url.of_file(path).reveal()
    assert make_url(url).database == str(path)
    assert url == URL.create("sqlite", database=str(path)).render_as_string()
    assert make_url(url).query == {}


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


FILE = {"name": "quick", "space": {"distill.lambda_id": {"float": [0.1, 1.0]}}}


def test_a_password_that_is_written_out_leaves_with_nothing(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    file = StudyFile.model_validate(
        {
            **FILE,
            "dataset": str(tiny_dataset.path),
            "workspace": str(tmp_path),
            "storage": "postgresql://ann:s3cret@host/db",
            "tracking": {"uri": "https://ann:s3cret@host"},
        }
    )
    assert file.storage is not None
    assert file.storage.reveal() == "postgresql://ann:s3cret@host/db"
    for way, form in forms(file, tiny_dataset).items():
        assert "s3cret" not in str(form), way
    assert "https://ann:***@host" in str(forms(file, tiny_dataset)["written"])
    kept = StudyFile.model_validate(json.loads(file.model_dump_json(by_alias=True)))
    assert str(kept.storage) == str(file.storage)


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:s3cret@bucket/charades",
        "s3://key:s3/cret@bucket/charades",
        "s3://bucket/charades?secret_key=s3cret",
        "s3://bucket/charades?endpoint_override=http://ann:s3cret@host",
        "abfs://container@account/path?sig=s3cret",
    ],
)
def test_the_address_of_a_dataset_holds_no_secret(address: str) -> None:
    with pytest.raises(ValidationError, match="which would be stored with the study") as refused:
        StudyFile.model_validate({**FILE, "dataset": address})
    assert "cret@" not in refused.value.errors()[0]["msg"]
    assert "s3cret" not in refused.value.errors()[0]["msg"]
    with pytest.raises(DataError, match="which would be stored with the study") as told:
        Dataset.open(address)
    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("address", ["s3://bucket/charades@v1", "file:///shared/a:b@c"])
def test_the_address_of_a_dataset_reaches_every_worker(address: str) -> None:
    file = StudyFile.model_validate({**FILE, "dataset": address})
    assert file.dataset == Url(address)
    assert pickle.loads(pickle.dumps(file.dataset)).reveal() == address
    assert StudyFile.model_validate({**FILE, "dataset": "a:b@c/d"}).dataset == Path("a:b@c/d")
