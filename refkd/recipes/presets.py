"""The presets of teachers: what each sets, and what is only a reconstruction."""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal["id", "none", "hao2022", "refkd_text", "zhang2021b", "combined", "oracle"]

PRESETS: dict[str, dict[str, Any]] = {
    "id": {},
    "none": {},
    "hao2022": {"augment": "translate", "w_match": 1.0, "w_kl": 1.0, "w_ord": 1.0},
    "refkd_text": {"augment": "translate", "w_span_aug": 1.0, "w_match": 1.0, "w_kl": 1.0},
    "zhang2021b": {"augment": "truncate", "w_span_aug": 1.0, "bias_branch": "rubi"},
    "combined": {
        "augment": "translate+truncate",
        "w_span_aug": 1.0,
        "w_match": 1.0,
        "w_kl": 1.0,
        "w_ord": 1.0,
        "bias_branch": "rubi",
    },
    "oracle": {},
}
"""What each preset sets beside the defaults (`docs/method.md`, OOD teachers).

- `id`, `none`: ordinary training; `none` is the control in the place of an OOD teacher.
- `hao2022`: Shuffle Video (ECCV 2022); the span losses never see the copy.
- `refkd_text`: as RefKD's text says, the moment moved and two label-consistent losses (A28).
- `zhang2021b`: To-Debias, which RefKD cites; a reconstruction from its abstract.
- `combined`: all of it.
- `oracle`: trained on `val_ood`, a diagnostic that leaks; it needs `oracle: true` beside.
"""

RECONSTRUCTED = ("truncate", "translate+truncate")
"""Augmentations that are reconstructions, as are all bias branches."""
