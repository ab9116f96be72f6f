"""Says of each wine in /pfs/analyses/unknown.csv which kind /pfs/classifier takes it for: /pfs/out/predictions.csv."""

import csv
import os
import pickle
from pathlib import Path


def main(pfs: Path) -> None:
    classifier = pickle.loads((pfs / "classifier" / "classifier.pickle").read_bytes())
    with (pfs / "analyses" / "unknown.csv").open(newline="") as file:
        wines = list(csv.DictReader(file))
    measured = [[float(value) for name, value in wine.items() if name not in ("id", "kind")] for wine in wines]
    # No wine, no row: a model cannot be asked about nothing.
    shares = classifier.predict_proba(measured) if measured else []
    with (pfs / "out" / "predictions.csv").open("w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("wine", "kind", "probability"))
        for wine, share in zip(wines, shares, strict=True):
            table.writerow((wine["id"], classifier.classes_[share.argmax()], round(float(share.max()), 4)))
    print(f"{len(wines)} wines")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
