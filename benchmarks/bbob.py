"""Public two-objective functions as tables of learning curves: bbob-biobj of COCO.

The functions (Brockhoff et al. 2022, doi:10.1162/evco_a_00298) say what each point reaches at its
end. How it comes there is made up, as COCO has no epochs: each point begins below its end by a
bias that fades, more slowly the lower its first parameter, as with a low learning rate, and every
epoch is measured with noise.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc, rankdata

from benchmarks.tables import Floats, Table
from refkd.seeds import generator

FUNCTIONS = range(1, 56, 7)
"""Every seventh of the 55, so that each kind of pair is there; none was chosen by a result."""
DIMENSIONS, POINTS, EPOCHS = 5, 1024, 50
SLOWEST, NOISE = 25.0, 0.03
"""Epochs in which the bias of the slowest point falls to 1/e, and the noise of an epoch."""
REGION = 5.0
"""The optima lie within [-5, 5] in each parameter."""


def bbob_table(function: int) -> Table:
    """Return a table of one function of the suite, the first instance, in five dimensions."""
    import cocoex

    asked = f"function_indices: {function} dimensions: {DIMENSIONS}"
    problem = cocoex.Suite("bbob-biobj", "instances: 1", asked)[0]
    unit = qmc.Sobol(DIMENSIONS, seed=function).random(POINTS)
    points = (2 * unit - 1) * REGION
    ends = np.array([problem(point) for point in points])
    return Table(
        name=f"bbob-biobj_f{function:02d}",
        parameters=[f"x{number}" for number in range(1, DIMENSIONS + 1)],
        logarithmic=[False] * DIMENSIONS,
        configs=points,
        objectives=["first", "second"],
        curves=_grown(_as_ranks(ends), unit[:, 0], function),
    )


def _as_ranks(ends: Floats) -> Floats:
    """Return each objective's ranks in [0, 1], the best 1: values run over many magnitudes."""
    ranks: Floats = 1 - (rankdata(ends, axis=0) - 1) / (len(ends) - 1)
    return ranks


def _grown(ends: Floats, speed: Floats, function: int) -> Floats:
    """Return (points, epochs, objectives): ends that are reached at a speed in [0, 1]."""
    slowness = SLOWEST ** (1 - speed)
    epochs = np.arange(1, EPOCHS + 1)
    part = (1 - np.exp(-epochs / slowness[:, None])) / (1 - np.exp(-EPOCHS / slowness))[:, None]
    shape = (len(ends), EPOCHS, ends.shape[1])
    noise = generator(function, "bbob", "noise").normal(0.0, NOISE, shape)
    curves: Floats = ends[:, None] * part[:, :, None] + noise
    return curves
