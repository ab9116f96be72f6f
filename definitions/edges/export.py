"""Writes the two photographs that scikit-learn ships into a folder, which is made: `python definitions/edges/export.py FOLDER`."""

import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path

PICTURES = ("china.jpg", "flower.jpg")


def export(folder: Path) -> None:
    """Copies the files as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PICTURES:
        with as_file(files("sklearn.datasets.images") / name) as path:
            shutil.copyfile(path, folder / name)


if __name__ == "__main__":
    export(Path(sys.argv[1]))
