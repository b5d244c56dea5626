"""Predictions as the files that published evaluations read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from refkd.data.pairs import Pairs
from refkd.evaluation.compat import DEFAULT
from refkd.evaluation.metrics import RANKED
from refkd.evaluation.predictions import edges_to_seconds, predict_listed
from refkd.files import write_text
from refkd.models.backbone import Backbone


def write_submission(path: Path, backbone: Backbone, roles: Sequence[Pairs]) -> int:
    """Write a backbone's spans for every query of some roles; return how many there are.

    A line a query, in the form of QVHighlights (Lei et al., 2021): `qid`, `query`, `vid` and
    `pred_relevant_windows`, up to ten [start, end, score] in seconds, best first. A query that its
    file gave no name is called by its pair id. Scores compare the windows of one query.
    """
    lines = [line for pairs in roles for line in _lines(backbone, pairs)]
    write_text(path, "".join(f"{line}\n" for line in lines))
    return len(lines)


def _lines(backbone: Backbone, pairs: Pairs) -> Iterator[str]:
    listed = predict_listed(backbone, pairs, top=RANKED)
    spans = DEFAULT.adjusted(edges_to_seconds(listed.edges, pairs), pairs).round(4)
    for row, pair in enumerate(pairs.pair_ids):
        qid = None if pairs.qids is None else pairs.qids[row]
        seen: dict[tuple[float, float], float] = {}
        for rank in range(int(listed.counts[row])):
            start, end = spans[row, rank].tolist()
            seen.setdefault((start, end), float(listed.score[row, rank]))
        found = {
            "qid": pair if qid is None else qid,
            "query": pairs.queries[row],
            "vid": pairs.video_ids[row],
            "pred_relevant_windows": [[*span, score] for span, score in seen.items()],
        }
        yield json.dumps(found, ensure_ascii=False)
