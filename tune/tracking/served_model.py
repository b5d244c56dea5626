"""The retriever as MLflow serves it: this file is the model's code, so nothing is pickled.

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

from refkd.retriever import Retriever


class ServedRetriever(PythonModel):
    """Answers questions about videos with a retriever among the model's files."""

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
        answers = []
        for row in model_input.to_dict(orient="records"):
            features = np.stack([np.asarray(clip, dtype=np.float32) for clip in row["features"]])
            length = float(row["duration"])
            answers += self._retriever.retrieve(features, row["query"], duration=length, top=top)
        return pd.DataFrame(
            {
                "start": [[span.start for span in spans] for spans in answers],
                "end": [[span.end for span in spans] for spans in answers],
                "score": [[span.score for span in spans] for spans in answers],
            }
        )


set_model(ServedRetriever())
