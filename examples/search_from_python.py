"""What the commands do, as Python calls: simulate, search, look, retrieve.

Run it as `python examples/search_from_python.py [FOLDER]`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from refkd import Dataset, Retriever, SimulationConfig, simulate
from tune import StudyFile, search


def main(folder: Path) -> None:
    """Search six tiny students in `folder` and ask the best one."""
    path = folder / "dataset"
    if path.exists():
        dataset = Dataset.open(path)
    else:
        config = SimulationConfig(videos=60, feature_dim=16, min_clips=8, max_clips=16)
        dataset = simulate(out=path, config=config)

    study = StudyFile.model_validate(
        {
            "name": "from-python",
            "dataset": path,
            "workspace": folder / "runs",
            "backbone": {"hidden": 16, "heads": 2, "char_dim": 4},
            "training": {"epochs": 3, "learning_rate": 3e-3},
            "distill": {"warmup_epochs": 1},
            "space": {
                "distill.lambda_id": {"float": [0.01, 1.0], "log": True},
                "distill.lambda_ood": {"float": [0.01, 1.0], "log": True},
            },
            "budget": {"trials": 6},
            "pruning": {"min_epochs": 1},
        }
    )
    summary = search(study)
    for alias, number in summary.champions.items():
        print(alias, "is trial", number, summary.trial(number).metrics["val_ood/miou"])

    pairs = dataset.role("val_ood")
    clips = pairs.batch([0]).features[0].numpy()
    retriever = Retriever.load(study.folder / "champions" / "best-ood")
    spans = retriever.retrieve(clips, pairs.queries[0], duration=pairs.duration[0], top=3)
    print(pairs.queries[0], *spans[0], sep="\n  ")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("from-python"))
