"""Cuts the flowers in /pfs/flowers/iris.csv into folds for cross-validation: /pfs/out/fold-N/train.csv and test.csv, each flower tested once."""

import os
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

FOLDS = 5


def main(pfs: Path) -> None:
    header, *flowers = np.loadtxt(pfs / "flowers" / "iris.csv", delimiter=",", dtype=str)
    rows = np.array(flowers)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(rows[:, :-1], rows[:, -1])
    for number, parts in enumerate(folds, 1):
        folder = pfs / "out" / f"fold-{number}"
        folder.mkdir()
        for name, chosen in zip(("train", "test"), parts, strict=True):
            np.savetxt(folder / f"{name}.csv", rows[chosen], fmt="%s", delimiter=",", header=",".join(header), comments="")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
