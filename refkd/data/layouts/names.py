"""Which split the name of a file, or of a fold in a table, speaks of."""

from __future__ import annotations

import re

from refkd.data.moments import Split

_WORDS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "fit"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test_iid"),
}


def split_of_name(name: str) -> Split | None:
    """Return the split that a name speaks of; None where it names none, or several.

    >>> split_of_name("highlight_val_release"), split_of_name("charades_cd_test_ood")
    ('val', 'test_ood')
    """
    words = re.split(r"[^a-z]+", name.lower())
    splits = {_WORDS[word] for word in words if word in _WORDS}
    if len(splits) != 1:
        return None
    (split,) = splits
    return "test_ood" if split == "test_iid" and "ood" in words else split
