"""Writes data/iris.csv from the iris flowers that scikit-learn ships: a line for each of 150 flowers, four lengths in cm and its species."""

import csv
from pathlib import Path

from sklearn.datasets import load_iris

DATA = Path(__file__).parent / "data"


def export(folder: Path) -> None:
    """Writes the table, in the order that scikit-learn has it."""
    iris = load_iris()
    (folder / "flowers").mkdir(parents=True, exist_ok=True)
    with (folder / "flowers" / "iris.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([*(name.removesuffix(" (cm)").replace(" ", "_") for name in iris.feature_names), "species"])
        table.writerows([*lengths, iris.target_names[species]] for lengths, species in zip(iris.data.tolist(), iris.target, strict=True))


if __name__ == "__main__":
    export(DATA)
