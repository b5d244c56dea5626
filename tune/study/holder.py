"""A driver that stood still looks, before it writes, whether another one has the study now."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tune.study.lease import RENEWAL, driver_of, is_followed, refusal

if TYPE_CHECKING:
    import optuna

LOOK = RENEWAL / 2
"""Seconds without a look after which the next write begins with one. Whoever takes a study over
has seen no heartbeat for two renewals."""


class Holder:
    """Whoever held the lease when a study was opened; None where nobody did, as in memory."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self.driver = driver_of(study.user_attrs)
        self._looked = time.time(), time.monotonic()

    def check(self) -> None:
        """Raise `LeaseError` where another driver has, or had, the study since it was opened."""
        now = time.time(), time.monotonic()
        since = [after - before for after, before in zip(now, self._looked, strict=True)]
        if self.driver is None or all(0 <= seconds < LOOK for seconds in since):
            return
        attributes, self._looked = self._study.user_attrs, now
        if is_followed(self.driver, attributes):
            raise refusal(self._study.study_name, driver_of(attributes))
