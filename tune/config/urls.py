"""URLs with a password: `${NAME}` stands for it until the URL is used, `***` where it is shown.

A study file may write `postgresql+psycopg://ann:${REFKD_PASSWORD}@host/studies`. Only what opens a
connection calls `resolve`; whatever stores, prints or pickles a URL has the reference, or a
password that was written out as `***`.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote

from refkd.errors import RefKDError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORDS = (
    re.compile(r"(?P<before>://[^:@/]*:)(?P<password>.*)(?=@)"),
    re.compile(r"(?P<before>[?&](?:ssl)?password=)(?P<password>[^&]*)"),
)


class UrlError(RefKDError):
    """A URL that names what the environment does not hold."""


def resolve(url: str) -> str:
    """Return a URL with every `${NAME}` replaced by that variable of the environment.

    Within a URL, user and password are quoted as URLs want it, so the variable holds them as they
    are; a reference that is all of it holds a URL. `UrlError` names a variable that is not set.

    >>> os.environ["REFKD_DOCTEST"] = "p@ss"
    >>> resolve("postgresql://ann:${REFKD_DOCTEST}@host/studies")
    'postgresql://ann:p%40ss@host/studies'
    >>> del os.environ["REFKD_DOCTEST"]
    """

    def value(reference: re.Match[str]) -> str:
        found = os.environ.get(reference[1])
        if found is None:
            raise UrlError(
                f"{without_password(url)!r} names ${{{reference[1]}}}, which the environment does "
                f"not hold; export {reference[1]}, then run the command again"
            )
        secret = reference.end() <= url.rfind("@") or url[: reference.start()].endswith(
            "password="
        )
        return quote(found, safe="") if secret else found

    return _REFERENCE.sub(value, url)


def without_password(url: str) -> str:
    """Return a URL as it may be shown, well formed or not; a reference shows nothing.

    >>> without_password("postgresql://ann:secret@host/studies?sslpassword=other")
    'postgresql://ann:***@host/studies?sslpassword=***'
    """
    if url.startswith("journal:"):
        return url
    for pattern in _PASSWORDS:
        url = pattern.sub(_hidden, url)
    return url


def scrub(text: str, url: str) -> str:
    """Return another program's text without the passwords of a URL that it was given."""
    try:
        whole = resolve(url)
    except UrlError:
        return text
    found = {match["password"] for pattern in _PASSWORDS for match in pattern.finditer(whole)}
    for password in sorted(found | {unquote(p) for p in found}, key=len, reverse=True):
        text = text.replace(password, "***") if password else text
    return text


def _hidden(match: re.Match[str]) -> str:
    is_reference = _REFERENCE.fullmatch(match["password"]) is not None
    return match["before"] + (match["password"] if is_reference else "***")
