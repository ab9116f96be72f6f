"""Reads the images of each CSV file in /pfs/test with /pfs/model/model.pickle, and leaves the score in /pfs/out: numbers as JSON, a picture as PNG."""

import json
import os
import pickle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

Ints = npt.NDArray[np.int_]

SIDE = 8
DIGITS = range(10)
SHOWN = 12
INK, MUTED, WRONG = "#1f2933", "#7b8794", "#c0392b"


def main(pfs: Path) -> None:
    with (pfs / "model" / "model.pickle").open("rb") as file:
        model = pickle.load(file)
    for path in sorted((pfs / "test").glob("*.csv")):
        rows = np.loadtxt(path, delimiter=",", skiprows=1, dtype=int, ndmin=2)
        digits, pixels = rows[:, 0], rows[:, 1:]
        read = model.predict(pixels)
        score = measure(digits, read)
        (pfs / "out" / f"{path.stem}.json").write_text(json.dumps(score, indent=2) + "\n")
        certainty = np.sort(model.decision_function(pixels), axis=1)
        draw(pfs / "out" / f"{path.stem}.png", path.stem, digits, read, pixels, certainty[:, -1] - certainty[:, -2])
        print(f"{path.name}: {score['right']} of {score['images']} read right")


def measure(digits: Ints, read: Ints) -> dict[str, object]:
    """How many images were read right, which digits are hard, and which images were misread (counted from 0, as what they are and what they were taken for)."""
    wrong = np.flatnonzero(digits != read)
    return {
        "images": len(digits),
        "right": len(digits) - len(wrong),
        "accuracy": round(float((digits == read).mean()), 4),
        "accuracy_by_digit": {str(digit): round(float((read[digits == digit] == digit).mean()), 4) for digit in np.unique(digits)},
        "misread": [{"image": int(image), "digit": int(digits[image]), "read": int(read[image])} for image in wrong],
    }


def draw(path: Path, title: str, digits: Ints, read: Ints, pixels: Ints, margins: npt.NDArray[np.float64]) -> None:
    """The confusion matrix, and beside it the images that were hardest to read: those that were misread, then those with the smallest margin."""
    mpl.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK})
    figure = Figure(figsize=(9, 4.8), dpi=120, facecolor="white")
    right = int((digits == read).sum())
    figure.text(0.035, 0.925, f"{title}: {right} of {len(digits)} read right, {right / len(digits):.1%}", size=13, weight="bold")
    matrix, images = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.15, 1))[0]
    draw_confusion(matrix.add_axes((0.12, 0.11, 0.82, 0.74)), confusion_matrix(digits, read, labels=DIGITS))
    hardest = np.lexsort((margins, digits == read))[:SHOWN]
    grid = images.subplots(3, 4, gridspec_kw={"left": 0.04, "right": 0.96, "top": 0.78, "bottom": 0.1, "hspace": 0.55})
    for image, axes in zip(hardest, grid.flat, strict=False):
        axes.imshow(pixels[image].reshape(SIDE, SIDE), cmap="gray_r")
        misread = digits[image] != read[image]
        axes.set_title(f"{digits[image]} read as {read[image]}" if misread else f"{digits[image]}", size=8.5, color=WRONG if misread else MUTED, pad=3)
    for axes in grid.flat:
        axes.axis("off")
    images.text(0.04, 0.855, f"the hardest to read; {len(digits) - right or 'none'} misread", color=MUTED)
    # Nothing about the program that drew it, so that the same score is the same file.
    figure.savefig(path, metadata={"Software": None})


def draw_confusion(axes: Axes, counts: Ints) -> None:
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=1.15 * counts.max(), aspect="auto")
    for digit in DIGITS:
        for taken_for in DIGITS:
            count = counts[digit, taken_for]
            if count:
                color = "white" if count > 0.6 * counts.max() else WRONG if digit != taken_for else INK
                axes.text(taken_for, digit, str(count), ha="center", va="center", color=color, weight="bold" if digit != taken_for else "normal")
    axes.set(xticks=DIGITS, yticks=DIGITS, xlabel="read as", ylabel="digit")
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(0.5, 9.5), minor=True)
    axes.set_yticks(np.arange(0.5, 9.5), minor=True)
    axes.grid(which="minor", color="#e4e7eb", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_color("#cbd2d9")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")))
