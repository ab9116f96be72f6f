"""Writes the files in data/ from the handwritten digits that scikit-learn ships: the first 1,197 images for training, the rest in four batches for tests."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

DATA = Path(__file__).parent / "data"
BATCHES = 4
BATCH_IMAGES = 150
SIDE = 8


def export(folder: Path) -> None:
    """Writes `training/digits.csv` and `test/batch-1.csv` to `test/batch-4.csv`: a line for each image, its digit and its 64 pixels from 0 to 16."""
    digits = load_digits()
    rows = np.column_stack([digits.target, digits.data]).astype(int)
    training, *batches = np.split(rows, [len(rows) - number * BATCH_IMAGES for number in range(BATCHES, 0, -1)])
    write_csv(folder / "training" / "digits.csv", training)
    for number, batch in enumerate(batches, 1):
        write_csv(folder / "test" / f"batch-{number}.csv", batch)


def write_csv(path: Path, rows: npt.NDArray[np.int_]) -> None:
    header = ",".join(["digit", *(f"row{row}col{column}" for row in range(SIDE) for column in range(SIDE))])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, fmt="%d", delimiter=",", header=header, comments="")


if __name__ == "__main__":
    export(DATA)
