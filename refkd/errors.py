"""What a user can do wrong, told so that the user can mend it."""

from __future__ import annotations

from refkd.masking import masked


class RefKDError(Exception):
    """A mistake in what the user gave: one line that names file, field, value and remedy.

    The command line prints the message and exits with 2, unless the error has a code of its own
    (`tune.ending.exits`); no traceback is shown. No URL in it shows a password, whoever wrote it.

    >>> from refkd import Dataset
    >>> try:
    ...     Dataset.open("nowhere")
    ... except RefKDError as error:
    ...     print(error)
    nowhere...
    """

    def __init__(self, message: str) -> None:
        super().__init__(masked(message))


class DataError(RefKDError):
    """An annotation, feature or word file, or a prepared dataset, that cannot be used."""


class SealedError(RefKDError):
    """A test role was asked for where only `fit`, `val_id` and `val_ood` may be read."""


class CheckpointError(RefKDError):
    """A checkpoint that is missing, half written or does not belong to what asks for it."""


class TrainingError(RefKDError):
    """Training that cannot go on, such as a loss that is not finite."""
