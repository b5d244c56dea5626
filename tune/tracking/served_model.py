"""The retriever as MLflow serves it: this file itself is the model's code, so nothing is pickled.

One row of input is one question: `features`, a list of clips each a list of numbers; `duration`
of the video in seconds; `query`, a sentence. The answer's row holds the starts and ends in
seconds and the scores of the `top` spans, best first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from refkd.retriever import Retriever, Span


class ServedRetriever(PythonModel):
    """Answers questions about videos by a retriever that lies beside it."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights; a file that was changed since the export is refused."""
        self._retriever = Retriever.load(context.artifacts["retriever"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return the `top` spans of each row."""
        top = int((params or {}).get("top", 1))
        answers = [self._answer(row, top) for row in model_input.to_dict(orient="records")]
        return pd.DataFrame(
            {
                "start": [[span.start for span in spans] for spans in answers],
                "end": [[span.end for span in spans] for spans in answers],
                "score": [[span.score for span in spans] for spans in answers],
            }
        )

    def _answer(self, row: dict[Any, Any], top: int) -> list[Span]:
        features = np.stack([np.asarray(clip, dtype=np.float32) for clip in row["features"]])
        duration = float(row["duration"])
        return self._retriever.retrieve(features, row["query"], duration=duration, top=top)[0]


set_model(ServedRetriever())
