"""The type of every URL that may hold a password: what shows, stores or pickles it cannot leak it.

A study file may write `postgresql+psycopg://ann:${REFKD_PASSWORD}@host/studies`: the variable is
put in when a connection is opened. A password that was written out is `***` wherever the URL goes.
"""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from refkd.errors import RefKDError
from refkd.masking import HIDDEN, OPTION, REFERENCE, is_file, password, shown

if TYPE_CHECKING:
    from pydantic_core import CoreSchema

_PATH = " +/"
"""What `sqlalchemy.URL` leaves as it is in a path."""
_UNQUOTED = {True: re.compile(r"[/?#\s]"), False: re.compile(r"@")}
"""What a password may not hold as it is, in the URL of a web server and of a database."""
_IN_OPTION = re.compile(rf"{OPTION}[^&]*$", re.I)


class UrlError(RefKDError):
    """A URL that names what the environment does not hold, or whose password is not quoted."""


class Url:
    """A URL that shows no password; `reveal` is the only way to one.

    >>> url = Url("postgresql://ann:pw@host/db")
    >>> print(f"{url}", [url], url.reveal())
    postgresql://ann:***@host/db [Url('postgresql://ann:***@host/db')] postgresql://ann:pw@host/db
    """

    __slots__ = ("_written",)

    def __init__(self, written: str | Url) -> None:
        self._written: str = written._written if isinstance(written, Url) else written

    @classmethod
    def of_file(cls, path: Path) -> Url:
        """Return the URL of an SQLite file, as `sqlalchemy.URL.create` would render it.

        >>> Url.of_file(Path("/exp?lr=1/study.db")).reveal()
        'sqlite:////exp%3Flr%3D1/study.db'
        """
        return cls(f"sqlite:///{quote(str(path), safe=_PATH)}")

    def reveal(self) -> str:
        """Return the URL with its password and every `${NAME}` of the environment, to connect.

        Within a URL, user and password are quoted as URLs want it, so the variable holds them as
        they are; a reference that is all of it holds a URL. `UrlError` says what cannot be used.

        >>> os.environ["REFKD_DOCTEST"] = "p@ss"
        >>> Url("postgresql://ann:${REFKD_DOCTEST}@host/studies").reveal()
        'postgresql://ann:p%40ss@host/studies'
        >>> del os.environ["REFKD_DOCTEST"]
        """
        url = REFERENCE.sub(partial(_value, self), self._written)
        self.check()
        if re.search(rf"[:=]{re.escape(HIDDEN)}(?:[@&]|$)", url):
            raise UrlError(
                f"{self}: was kept without its password; name the study file, with the password "
                "or ${NAME} in it"
            )
        return url

    def check(self) -> None:
        """Raise `UrlError` where it cannot be told for certain what the password is."""
        kind = _UNQUOTED[self._written.lower().startswith("http")]
        unquoted = kind.search(password(self._written) or "")
        if unquoted is not None:
            raise UrlError(
                f"{self}: where does its password end? write {quote(unquoted[0], safe='')} for "
                f"{unquoted[0]!r}, or ${{NAME}} for the password, and export NAME"
            )

    def __str__(self) -> str:
        return shown(self._written)

    def __format__(self, form: str) -> str:
        return format(str(self), form)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and self._written == other._written

    def __hash__(self) -> int:
        return hash(self._written)

    def __copy__(self) -> Url:
        return self

    def __deepcopy__(self, _: object) -> Url:
        return self

    def __reduce__(self) -> tuple[type[Url], tuple[str]]:
        return type(self), (str(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, __: object) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            _read,
            core_schema.is_instance_schema(cls),
            serialization=core_schema.to_string_ser_schema(when_used="json"),
            json_schema_input_schema=core_schema.str_schema(min_length=1),
        )


def _read(value: Any) -> Any:
    """Return the URL that a file has written; whatever cannot be used is said at once."""
    if isinstance(value, Url):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("give a URL")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("a URL cannot hold a line break or another control character")
    url = Url(value)
    try:
        url.check()
    except UrlError as error:
        raise ValueError(str(error)) from None
    return url


def _value(url: Url, reference: re.Match[str]) -> str:
    found = os.environ.get(reference[1])
    if found is None:
        raise UrlError(
            f"{str(url)!r} names ${{{reference[1]}}}, which the environment does not hold; export "
            f"{reference[1]}, then run the command again"
        )
    before, after = reference.string[: reference.start()], reference.string[reference.end() :]
    if is_file(before):
        return found if before.startswith("journal:") else quote(found, safe=_PATH)
    return quote(found, safe="") if "@" in after or _IN_OPTION.search(before) else found
