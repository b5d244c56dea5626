"""Hiding passwords in URLs by the places where they stand, in texts that others wrote as well.

What is hidden is found by the form of a URL and never by comparing words with a password: a text
in which each `p` were a star would tell that the password is `p`.
"""

from __future__ import annotations

import re

HIDDEN = "***"
REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""`${NAME}`, which stands for a variable of the environment and shows nothing."""
_FILE = re.compile(r"(?:sqlite(?:\+\w+)?|file):///|journal:", re.I)
_LOGIN = re.compile(r"(?is)(?P<before>^(?:[a-z][\w+.-]*:/+)?+[^:@]*:)(?P<password>.*)(?=@)")
"""From the first `:` behind the scheme to the last `@`, whatever stands between them."""
OPTION = (
    r"(?:[?&#;]|^|\s)[\w.%-]*"
    r"(?:pass(?!file)|pwd|secret|token|credential|sig|(?<!ssl)key)[\w.%-]*="
)
"""Begin of an option that holds a secret, as databases, object stores and servers name them."""
_TOKEN = re.compile(r"(?P<before>^https?://)(?P<password>[^:@/?#]+)(?=@)", re.I)
_OPTIONS = (
    re.compile(rf"(?P<before>{OPTION})(?P<password>[^&]*)", re.I),
    re.compile(  # a URL with a login in an option
        r"(?P<before>[?&#;][^=&]*=)(?P<password>[^&]*(?::|%3A)(?:/|%2F){2}[^&]*(?:@|%40)[^&]*)",
        re.I,
    ),
)
_WITHIN = re.compile(r"[a-z][\w+.-]*:(?:\\?/)+\S+", re.I)
_SAID = re.compile(r"(?P<before>password\s*=\s*)(?P<password>'[^']*'|[^\s&]+)", re.I)


def shown(url: str) -> str:
    """Return a URL as it may be shown, well formed or not.

    >>> shown("postgresql://ann:secret@host/studies?sslpassword=other")
    'postgresql://ann:***@host/studies?sslpassword=***'
    """
    if url.startswith("journal:"):
        return url
    for pattern in _OPTIONS if is_file(url) else (_LOGIN, _TOKEN, *_OPTIONS):
        url = pattern.sub(_hidden, url)
    return url


def is_file(url: str) -> bool:
    """Return whether a URL is the path of a file, where no login stands."""
    return _FILE.match(url) is not None


def password(url: str) -> str | None:
    """Return what stands where a URL's password does, `${NAME}` included; None without one."""
    found = None if is_file(url) else _LOGIN.match(url)
    return None if found is None else found["password"]


def masked(text: str) -> str:
    """Return a text with every URL in it as it may be shown.

    >>> masked("401 of https://ann:p@host/api, a page for people")
    '401 of https://ann:***@host/api, a page for people'
    """
    return _SAID.sub(_hidden, _WITHIN.sub(lambda found: shown(found[0]), text))


def _hidden(found: re.Match[str]) -> str:
    is_reference = REFERENCE.fullmatch(found["password"]) is not None
    return found["before"] + (found["password"] if is_reference else HIDDEN)
