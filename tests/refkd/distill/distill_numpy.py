"""Algorithm 1 in plain numpy, one pair at a time: no batch, no padding, no code of `refkd`.

A clip span is a set of clips, a distribution an array over a video's own clips.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BOUNDARIES = ("start", "end")
TEACHERS = ("id", "ood")
SMALLEST = 1e-12


@dataclass(frozen=True)
class Pair:
    """What is true of a pair, and (n,) logits of its n clips by who says them and of what."""

    start: int
    end: int
    moment: tuple[float, float]
    said: dict[str, dict[str, Array]]


@dataclass
class Plain:
    """The targets, the terms of the loss and what is logged beside them, of one pair."""

    target: dict[str, Array] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    total: float = 0.0


def loss(pair: Pair, config: Any, *, auxiliary: float, warm: bool) -> Plain:
    """Return the loss of a pair under a `DistillConfig`."""
    made, t = Plain(), config.kd_temperature
    fit = {k: {b: teacher_loss(pair, k, b, config.introd) for b in BOUNDARIES} for k in TEACHERS}
    rho = {k: confidence(pair, f"side_{k}", config.rho) for k in TEACHERS}
    pi = {k: affinity(pair, k, config) for k in TEACHERS}
    for b in BOUNDARIES:
        ours, theirs = (
            fit[k][b] if config.introd.per_boundary else fit[k]["start"] + fit[k]["end"]
            for k in TEACHERS
        )
        w = np.array([ours, theirs] if config.introd.invert else [theirs, ours]) / (ours + theirs)
        made.parts[f"w_id_{b}"] = w[0]
        teachers = [np.exp(log_p(pair.said[k][b], t)) for k in TEACHERS]
        if not warm:
            teachers = [rectified(pair, k, b, rho[k], config) for k in TEACHERS]
            if config.reweighting:
                w = w * np.array([pi["ood"], pi["id"]]) / (pi["id"] + pi["ood"])
                w = 2 * w if config.reweight_norm == "const" else w / w.sum()
        made.target[b] = w[0] * teachers[0] + w[1] * teachers[1]
        made.parts[f"target_mass_{b}"] = made.target[b][getattr(pair, b)]
        made.parts[f"student_mass_{b}"] = np.exp(log_p(pair.said["main"][b]))[getattr(pair, b)]
    if not warm:
        for k in TEACHERS:
            made.parts |= {f"pi_{k}": pi[k], f"rho_{k}": rho[k]}
            made.parts |= {f"rho_{k}_is_0": rho[k] == 0, f"rho_{k}_is_1": rho[k] == 1}

    def each(term: Any) -> float:
        found = term("start") + term("end")
        return float(found / 2 if config.boundary_reduction == "mean" else found)

    main, parts = pair.said["main"], made.parts
    parts["kd"] = t**2 * each(lambda b: kl(made.target[b], log_p(main[b], t)))
    for k in TEACHERS:
        parts[f"side_{k}"] = t**2 * each(
            lambda b, k=k: side(pair.said[k][b], pair.said[f"side_{k}"][b], config)
        )
    parts["aux"] = auxiliary
    hard = each(lambda b: -log_p(main[b])[getattr(pair, b)])
    if config.lambda_ce > 0:
        parts["ce"] = hard
    made.total = parts["kd"] + config.aux_weight * auxiliary + config.lambda_ce * hard
    if config.side_in_warmup or not warm:
        made.total += config.lambda_id * parts["side_id"]
        made.total += config.lambda_ood * parts["side_ood"]
    return made


def log_p(logits: Array, temperature: float = 1.0) -> Array:
    """Return log softmax(z / T)."""
    z = logits / temperature
    z = z - z.max()
    return z - np.log(np.exp(z).sum())


def kl(target: Array, log_q: Array) -> float:
    """Return Σ t log(t / q), over where t is not 0."""
    return float(sum(t * (np.log(t) - q) for t, q in zip(target, log_q, strict=True) if t > 0))


def label(pair: Pair, boundary: str, kind: str) -> Array:
    """Return I_b, or half of it with a quarter on each neighbour that there is."""
    i, n = getattr(pair, boundary), len(pair.said["main"]["start"])
    found = np.eye(n)[i]
    if kind == "soft":
        for near in {i - 1, i + 1} & set(range(n)):
            found = found + 0.25 * (np.eye(n)[near] - np.eye(n)[i])
    return found


def teacher_loss(pair: Pair, k: str, boundary: str, config: Any) -> float:
    """Return ℓ^k_b of (1) and (2)."""
    z, truth = pair.said[k][boundary], label(pair, boundary, config.gt)
    if config.ce == "bce":
        found = float((np.logaddexp(0.0, z) - truth * z).sum())
    else:
        found = -float((truth * log_p(z)).sum())
    return max(found, SMALLEST)


def affinity(pair: Pair, k: str, config: Any) -> float:
    """Return π^k of (9)."""
    found = 0.0
    for b in BOUNDARIES:
        target, other = (log_p(pair.said[who][b]) for who in (k, f"side_{k}"))
        if config.affinity_order == "swapped":
            target, other = other, target
        entropy = float((np.exp(target) * target).sum()) if config.affinity == "kl" else 0.0
        off = entropy - float((np.exp(target) * other).sum())
        found += 1 / max(off, SMALLEST)
    return found


def joint(spans: dict[str, Array]) -> Array:
    """Return (n, n) log P_s + log P_e, nothing where the end comes before the start."""
    both = log_p(spans["start"])[:, None] + log_p(spans["end"])[None, :]
    return np.where(np.tri(len(both), k=-1, dtype=bool), -np.inf, both)


def best(spans: dict[str, Array]) -> tuple[int, int]:
    """Return the most probable span."""
    start, end = np.unravel_index(joint(spans).argmax(), (len(spans["start"]),) * 2)
    return int(start), int(end)


def clip_iou(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Return how many clips are in both spans, of those in either."""
    mine, other = (set(range(first, last + 1)) for first, last in (a, b))
    return len(mine & other) / len(mine | other)


def confidence(pair: Pair, who: str, reading: str) -> float:
    """Return ρ^k of (10)."""
    truth = (pair.start, pair.end)
    if reading == "expected":
        mass = np.exp(joint(pair.said[who]))
        iou = [[clip_iou((s, e), truth) for e in range(len(mass))] for s in range(len(mass))]
        return float((mass * np.nan_to_num(iou)).sum() / mass.sum())
    start, end = best(pair.said[who])
    if reading == "clips":
        return clip_iou((start, end), truth)
    first, beyond = pair.moment
    shared = max(0.0, min(end + 1, beyond) - max(start, first))
    return shared / (max(end + 1, beyond) - min(start, first))


def rectified(pair: Pair, k: str, boundary: str, rho: float, config: Any) -> Array:
    """Return P̃^k_b of (11), of (14), or of "Pure GT" of Table 4."""
    p = np.exp(log_p(pair.said[k][boundary], config.kd_temperature))
    truth = label(pair, boundary, config.introd.gt)
    if config.rectification == "none":
        return p
    if config.rectification == "mixed":
        return rho * p + (1 - rho) * truth
    if config.rectification == "pure_gt":
        judged = k if config.pure_gt.source == "teacher" else None
        iou = clip_iou(best(pair.said[judged]), (pair.start, pair.end)) if judged else rho
        return truth if iou < config.pure_gt.delta else p
    n, i = len(p), getattr(pair, boundary)
    distance = np.abs(np.arange(n) - i).astype(float)
    if config.window.unit == "fraction":
        distance = distance / max(n - 1, 1)
    if config.window.x == "prob":
        distance = p - np.eye(n)[i]
    log_f = -(1 - rho) * distance**2 / config.window.tau
    return np.exp(log_p(log_p(pair.said[k][boundary], config.kd_temperature) + log_f))


def side(teacher: Array, branch: Array, config: Any) -> float:
    """Return one boundary's divergence of (8)."""
    target, other = (log_p(z, config.kd_temperature) for z in (teacher, branch))
    if config.side_kl == "reverse":
        target, other = other, target
    return kl(np.exp(target), other)
