"""Secrets in text: found by the names that hold them, and never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

Place = tuple[str | int, ...]
_PATH = r"(?:[A-Za-z]:)?[/~.]"
_NAMED = re.compile(
    r"(?<![A-Za-z0-9_])"
    r"(\w*(?:TOKEN|API_?KEY|PASSWORD|PASSWD|SECRET(?:_\w*)?|ACCESS_KEY(?:_ID)?)"
    r"(?<!_PATH)(?<!_FILE)(?<!_NAME)(?<!_ARN))"
    rf"=(?!\s|$)(?!\"\"|''|[\"']?(?:\$|`|{_PATH}))(\"[^\"]*\"|'[^']*'|[^\s;&|'\"]+)",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(\bBearer|\baws_secret_access_key|\baws_session_token|--(?:password|token|api-key))"
    rf"\s+(?![\"']?(?:\$|`|-|{_PATH}))[^\s;&|'\"]+",
    re.IGNORECASE,
)
_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/:@'\"]*:(?!\$)[^\s/@'\"]+@", re.IGNORECASE)
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")


def secret_in(text: str) -> str | None:
    """Return the first secret of a text, hidden; None where there is none.

    >>> secret_in("export HF_TOKEN=hf_abc"), secret_in("psql postgresql://me:pass@host/db")
    ('HF_TOKEN=***', 'postgresql://***@')
    >>> secret_in("RAY_AUTH_MODE=token TOKEN=$(cat f) RAY_AUTH_TOKEN_PATH=~/t KEY_TOKEN=/run/t")
    """
    for pattern in (_NAMED, _SAID, _URL, _KEY_ID):
        found = pattern.search(text)
        if found:
            return hidden(found[0])
    return None


def hidden(text: str) -> str:
    """Return a text without the secrets in it."""
    text = _SAID.sub(r"\1 ***", _NAMED.sub(r"\1=***", text))
    return _KEY_ID.sub("an AWS access key", _URL.sub(r"\1***@", text))


def texts(content: object, keys: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield every text of a file and where it stands; values with their names before them."""
    if isinstance(content, Mapping):
        name, value = content.get("name"), content.get("value")
        if isinstance(name, str) and isinstance(value, str):  # an environment variable
            yield keys, f"{name}={value}"
            return
        for key, inner in content.items():
            if isinstance(inner, str):
                yield (*keys, key), f"{key}={inner}"
            else:
                yield from texts(inner, (*keys, key))
    elif isinstance(content, list):
        for position, inner in enumerate(content):
            if isinstance(inner, str):
                yield (*keys, position), inner
            else:
                yield from texts(inner, (*keys, position))
