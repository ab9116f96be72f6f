"""The scripts of the digits example, run as its pipelines run them: with the folders that a datum has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from definitions.digits.export import export
from definitions.digits.score import measure
from tests.docs.markdown import ROOT

FOLDER = ROOT / "definitions" / "digits"
DATA = FOLDER / "data"
BATCHES = ("batch-1", "batch-2", "batch-3", "batch-4")


def run_script(name: str, pfs: Path) -> str:
    (pfs / "out").mkdir(exist_ok=True)
    command = [sys.executable, str(FOLDER / name)]
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "PFS_ROOT": str(pfs)}).stdout


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What score.py leaves for all test files, with a model of train.py."""
    pfs = tmp_path_factory.mktemp("train")
    shutil.copytree(DATA / "training", pfs / "training")
    assert "1197 images" in run_script("train.py", pfs)
    next_pfs = tmp_path_factory.mktemp("score")
    shutil.copytree(pfs / "out", next_pfs / "model")
    shutil.copytree(DATA / "test", next_pfs / "test")
    run_script("score.py", next_pfs)
    return next_pfs / "out"


def read_score(scored: Path, batch: str) -> dict[str, Any]:
    score: dict[str, Any] = json.loads((scored / f"{batch}.json").read_text())
    return score


def test_shipped_data_is_what_export_writes(tmp_path: Path) -> None:
    export(tmp_path)
    shipped = {path.relative_to(DATA): path.read_bytes() for path in DATA.rglob("*.csv")}
    assert shipped == {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.csv")}
    assert sorted(path.name for path in shipped) == [*(f"{batch}.csv" for batch in BATCHES), "digits.csv"]


def test_every_test_file_has_its_own_score_and_picture(scored: Path) -> None:
    assert sorted(path.name for path in scored.iterdir()) == sorted(f"{batch}.{kind}" for batch in BATCHES for kind in ("json", "png"))


@pytest.mark.parametrize("batch", BATCHES)
def test_model_reads_more_than_nine_of_ten_images_it_has_not_seen(scored: Path, batch: str) -> None:
    score = read_score(scored, batch)
    assert score["images"] == 150
    assert score["accuracy"] > 0.9
    assert score["right"] + len(score["misread"]) == 150


@pytest.mark.parametrize("batch", BATCHES)
def test_misread_images_are_named_with_their_true_digit(scored: Path, batch: str) -> None:
    true_digits = [int(line.split(",")[0]) for line in (DATA / "test" / f"{batch}.csv").read_text().splitlines()[1:]]
    misread = read_score(scored, batch)["misread"]
    assert all(true_digits[one["image"]] == one["digit"] != one["read"] for one in misread)


@pytest.mark.parametrize("batch", BATCHES)
def test_picture_is_a_small_png(scored: Path, batch: str) -> None:
    picture = scored / f"{batch}.png"
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.stat().st_size <= 200 * 1024
    with Image.open(picture) as image:
        image.load()
        assert (image.format, image.size) == ("PNG", (1080, 576))


def test_score_counts_what_was_read_right() -> None:
    digits, read = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1])
    assert measure(digits, read) == {
        "images": 5,
        "right": 4,
        "accuracy": 0.8,
        "accuracy_by_digit": {"0": 0.5, "1": 1.0},
        "misread": [{"image": 1, "digit": 0, "read": 1}],
    }
