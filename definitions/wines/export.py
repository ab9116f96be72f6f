"""Writes data/wines.csv from the analyses of 178 wines that scikit-learn ships: thirteen measurements and the kind of each, in an order by chance."""

import csv
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine

DATA = Path(__file__).parent / "data"
NAMES = {"od280/od315_of_diluted_wines": "dilution"}
CULTIVATORS = ("Barolo", "Grignolino", "Barbera")
"""The three kinds, which scikit-learn numbers, by the names of the study: M. Forina et al., Vitis 25 (1986), 189."""


def export(folder: Path) -> None:
    """Writes the table; the same each time."""
    wines = load_wine()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "wines.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", *(NAMES.get(name, name) for name in wines.feature_names), "kind"])
        for number, row in enumerate(np.random.default_rng(0).permutation(len(wines.target)), 1):
            table.writerow([number, *wines.data[row].tolist(), CULTIVATORS[wines.target[row]]])


if __name__ == "__main__":
    export(DATA)
