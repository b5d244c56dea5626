"""Names that nobody reads."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from tune.cluster.findings import Fault, Keys
from tune.config.yaml_file import YamlFile


def unknown(keys: Keys, known: Iterable[str], *, document: YamlFile | None = None) -> Fault:
    """Return the fault of a key that nobody reads, with the nearest one that is."""
    close = get_close_matches(str(keys[-1]), list(known), n=1)
    remedy = f"did you mean {close[0]!r}?" if close else "remove it"
    return Fault(keys, keys[-1], "is a key that nobody reads", remedy, document=document)
