"""Trains on all flowers with the best parameters of /pfs/averages: /pfs/out/model.pickle, and /pfs/out/chosen.json says with which."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
from sklearn.svm import SVC


def main(pfs: Path) -> None:
    averages = {path.stem: json.loads(path.read_text()) for path in sorted((pfs / "averages").glob("*.json"))}
    # Of equally good ones the first by name, so that the same scores make the same model.
    name, best = max(averages.items(), key=lambda one: one[1]["accuracy"])
    flowers = np.loadtxt(pfs / "flowers" / "iris.csv", delimiter=",", skiprows=1, dtype=str)
    with (pfs / "out" / "model.pickle").open("wb") as file:
        pickle.dump(SVC(**best["parameters"]).fit(flowers[:, :-1].astype(float), flowers[:, -1]), file)
    (pfs / "out" / "chosen.json").write_text(json.dumps({"name": name, **best}) + "\n")
    print(f"{name}: {best['accuracy']:.1%} right")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
