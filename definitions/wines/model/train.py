"""Learns from /pfs/analyses/known.csv to tell the kind of a wine: /pfs/out/classifier.pickle."""

import csv
import os
import pickle
from pathlib import Path

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def main(pfs: Path) -> None:
    with (pfs / "analyses" / "known.csv").open(newline="") as file:
        wines = list(csv.DictReader(file))
    measured = [[float(value) for name, value in wine.items() if name not in ("id", "kind")] for wine in wines]
    kinds = [wine["kind"] for wine in wines]
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    print(f"{len(wines)} wines, {cross_val_score(classifier, measured, kinds).mean():.1%} right in cross-validation")
    with (pfs / "out" / "classifier.pickle").open("wb") as out:
        pickle.dump(classifier.fit(measured, kinds), out)


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
