"""Trains with the parameters in /pfs/parameters/NAME.json on a fold in /pfs/folds/FOLD, and leaves the share that it got right: /pfs/out/NAME/FOLD.json."""

import json
import os
from pathlib import Path

import numpy as np
from sklearn.svm import SVC


def main(pfs: Path) -> None:
    (parameters_file,) = (pfs / "parameters").iterdir()
    (fold,) = (pfs / "folds").iterdir()
    parameters = json.loads(parameters_file.read_text())
    train, test = (np.loadtxt(fold / f"{name}.csv", delimiter=",", skiprows=1, dtype=str) for name in ("train", "test"))
    model = SVC(**parameters).fit(train[:, :-1].astype(float), train[:, -1])
    accuracy = model.score(test[:, :-1].astype(float), test[:, -1])
    folder = pfs / "out" / parameters_file.stem
    folder.mkdir()
    (folder / f"{fold.name}.json").write_text(json.dumps({"parameters": parameters, "accuracy": accuracy}) + "\n")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
