"""Averages the scores of one set of parameters over its folds, which are in /pfs/scores/NAME: /pfs/out/NAME.json."""

import json
import os
from pathlib import Path
from statistics import fmean


def main(pfs: Path) -> None:
    # All scores of a datum are of one set of parameters, by which it was grouped.
    (folder,) = (pfs / "scores").iterdir()
    scores = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    average = {"parameters": scores[0]["parameters"], "folds": len(scores), "accuracy": round(fmean(score["accuracy"] for score in scores), 4)}
    (pfs / "out" / f"{folder.name}.json").write_text(json.dumps(average) + "\n")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
