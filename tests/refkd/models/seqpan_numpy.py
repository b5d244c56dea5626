"""SeqPAN's forward pass in plain numpy, step by step as its paper and reference describe it.

Shares no code with `refkd`: masks are numbers that are added, attention has a loop over heads, and
nothing keeps padding from a convolution, which is what the reference does.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NEG = -1e30


class SeqPANNumpy:
    """The forward pass with a network's weights; `tau` of None is a network without Gumbel."""

    def __init__(
        self, weights: Mapping[str, Array], vectors: Array, *, heads: int, tau: float | None
    ) -> None:
        self.w, self.vectors, self.heads, self.tau = weights, vectors, heads, tau

    def __call__(
        self, features: Array, clips: Array, words: Array, characters: Array
    ) -> dict[str, Array]:
        v_mask = (np.arange(features.shape[1]) < clips[:, None]).astype(float)
        q_mask = (words != 0).astype(float)
        video = self.norm(self.linear(features, "video"), "video_norm")
        query = self.norm(self.embed(words, characters), "query_norm")
        video = self.convolve(self.place(video, "positions"), "conv")
        query = self.convolve(self.place(query, "positions"), "conv")
        for i in range(sum(f"attention.{i}.guided.bias" in self.w for i in range(9))):
            name = f"attention.{i}"
            new_video = self.dual_attention(video, query, v_mask, q_mask, name)
            query = self.dual_attention(query, video, q_mask, v_mask, name)
            video = new_video
        q2v = self.context_query(video, query, v_mask, q_mask, "query_to_video")
        v2q = self.context_query(query, video, q_mask, v_mask, "video_to_query")
        alpha = softmax(v2q @ self.w["concat.pool"] + (1 - q_mask) * NEG)
        pooled = np.einsum("bm,bmd->bd", alpha, v2q)
        both = np.concatenate([q2v, np.repeat(pooled[:, None], q2v.shape[1], 1)], axis=2)
        fused = self.linear(both, "concat.linear")
        classes = self.linear(fused, "match") / (self.tau or 1.0)
        gated = (fused + softmax(classes) @ self.w["labels"]) * v_mask[..., None]
        start = self.encode(gated, v_mask, "span_head.encoder")
        end = self.encode(start, v_mask, "span_head.encoder")
        return {
            "classes": classes,
            "fused": gated,
            "start": self.boundary(start, gated, "start"),
            "end": self.boundary(end, gated, "end"),
        }

    def linear(self, x: Array, name: str) -> Array:
        return x @ self.w[f"{name}.weight"].T + self.w.get(f"{name}.bias", 0.0)

    def norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def embed(self, words: Array, characters: Array) -> Array:
        special = np.concatenate([np.zeros_like(self.vectors[:1]), self.w["embedding.unknown"]])
        parts = [np.concatenate([special, self.vectors])[words]]
        seen = self.w["embedding.characters.weight"][characters]
        for i, kernel in enumerate((1, 2, 3, 4)):
            weight = self.w[f"embedding.convolutions.{i}.weight"]
            windows = [
                sum(seen[:, :, at + k] @ weight[:, :, k].T for k in range(kernel))
                for at in range(seen.shape[2] - kernel + 1)
            ]
            found = np.stack(windows, axis=2) + self.w[f"embedding.convolutions.{i}.bias"]
            parts.append(np.maximum(found, 0).max(axis=2))
        return self.linear(np.concatenate(parts, axis=2), "embedding.linear")

    def place(self, x: Array, name: str) -> Array:
        return x + self.w[f"{name}.table.weight"][: x.shape[1]]

    def convolve(self, x: Array, name: str) -> Array:
        for i in range(4):
            weight = self.w[f"{name}.depthwise.{i}.weight"][:, 0]
            y = np.pad(self.norm(x, f"{name}.norms.{i}"), ((0, 0), (3, 3), (0, 0)))
            y = sum(y[:, k : k + x.shape[1]] * weight[:, k] for k in range(7))
            x = x + np.maximum(self.linear(y, f"{name}.pointwise.{i}"), 0)
        return x

    def heads_of(self, query: Array, key: Array, value: Array, mask: Array) -> Array:
        size = query.shape[2] // self.heads
        results = []
        for h in range(self.heads):
            part = slice(h * size, (h + 1) * size)
            scores = query[..., part] @ key[..., part].transpose(0, 2, 1) / np.sqrt(size)
            results.append(softmax(scores + (1 - mask) * NEG) @ value[..., part])
        return np.concatenate(results, axis=2)

    def dual_attention(self, x: Array, t: Array, x_mask: Array, t_mask: Array, n: str) -> Array:
        f, t = self.norm(x, f"{n}.norm1"), self.norm(t, f"{n}.norm_other")
        q = self.linear(f, f"{n}.query")
        own = self.heads_of(
            q,
            self.linear(f, f"{n}.self_key"),
            self.linear(f, f"{n}.self_value"),
            x_mask[:, :, None] * x_mask[:, None, :],
        )
        cross = self.heads_of(
            q,
            self.linear(t, f"{n}.cross_key"),
            self.linear(t, f"{n}.cross_value"),
            x_mask[:, :, None] * t_mask[:, None, :],
        )
        s, c = self.linear(own, f"{n}.self_out"), self.linear(cross, f"{n}.cross_out")
        gates = [sigmoid(self.linear(s, f"{n}.self_gate")) * c]
        gates.append(sigmoid(self.linear(c, f"{n}.cross_gate")) * s)
        o = self.linear(gates[0] + gates[1], f"{n}.guided")
        score = self.linear(f, f"{n}.score_from") + self.linear(o, f"{n}.score_other")
        value = self.linear(f, f"{n}.value_from") + self.linear(o, f"{n}.value_other")
        m = x_mask[..., None]
        o = sigmoid(score * m + (1 - m) * NEG) * value
        r = x + self.linear(o, f"{n}.linear1")
        return r + self.linear(self.norm(r, f"{n}.norm2"), f"{n}.linear2")

    def context_query(self, v: Array, q: Array, v_mask: Array, q_mask: Array, n: str) -> Array:
        scores = (v @ self.w[f"{n}.context"])[:, :, None] + (q @ self.w[f"{n}.query"])[:, None]
        scores = scores + (v * self.w[f"{n}.product"]) @ q.transpose(0, 2, 1)
        rows = softmax(scores + (1 - q_mask[:, None, :]) * NEG)
        columns = softmax((scores + (1 - v_mask[:, :, None]) * NEG).transpose(0, 2, 1))
        a, b = rows @ q, rows @ columns @ v
        return self.linear(np.concatenate([v, a, v * a, v * b], axis=2), f"{n}.linear")

    def encode(self, x: Array, mask: Array, n: str) -> Array:
        x = self.convolve(self.place(x, f"{n}.positions"), f"{n}.conv")
        y = self.norm(x, f"{n}.attention.norm1")
        q, k, v = (self.linear(y, f"{n}.attention.{part}") for part in ("query", "key", "value"))
        r = x + self.heads_of(q, k, v, mask[:, :, None] * mask[:, None, :])
        return r + self.linear(self.norm(r, f"{n}.attention.norm2"), f"{n}.attention.out")

    def boundary(self, x: Array, fused: Array, side: str) -> Array:
        both = np.concatenate([self.norm(x, f"span_head.{side}_norm"), fused], axis=2)
        hidden = np.maximum(self.linear(both, f"span_head.{side}.0"), 0)
        return self.linear(hidden, f"span_head.{side}.2")[..., 0]


def softmax(x: Array) -> Array:
    """Return the softmax over the last axis."""
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e^-x) without overflow."""
    return np.exp(-np.logaddexp(0, -x))
