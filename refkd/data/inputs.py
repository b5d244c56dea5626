"""What a backbone must know of a dataset before it can be built."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInputs:
    """Sizes and frozen word vectors of a dataset; the same for every model trained on it."""

    feature_dim: int
    """V, the width of a clip's feature vector."""
    word_vectors: NDArray[np.float32]
    """(W, d_w) frozen vectors of the words with ids 2, 3, …; ids 0 and 1 are padding, unknown."""
    characters: int
    """Size of the character table, padding (0) and unknown (1) included."""
    text_dim: int = 0
    """d_t, the width of a token of a query where those are given as features; 0: as words."""
