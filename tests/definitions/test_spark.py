"""The example with Spark: the words of a commit, as counted without it."""

import csv
import io
import os
import shutil
import sys
from collections import Counter

import pytest

from tests.cli.pachctl import Pachctl
from tests.definitions.test_wordcount import TEXTS, words
from tests.docs.markdown import ROOT

FOLDER = ROOT / "definitions" / "spark"
# Read here because a job has the environment of its test.
PYSPARK = os.environ.get("TEST_PYSPARK")

pytestmark = pytest.mark.skipif(PYSPARK is None or shutil.which("java") is None, reason="needs Java, and the folder TEST_PYSPARK with pyspark")


def test_words_of_a_commit_are_counted(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PYSPARK is not None
    monkeypatch.setenv("PYTHONPATH", PYSPARK)
    spec = (FOLDER / "pipelines.yaml").read_text().replace("/usr/local/bin/python", sys.executable).replace("/code", str(FOLDER))
    pachctl("create", "repo", "texts")
    pachctl("put", "file", "texts@master", "-r", "-f", str(TEXTS[0].parent))
    pachctl("create", "pipeline", stdin=spec.encode())
    pachctl("flush", "commit", "texts@master")
    assert counted(pachctl) == Counter(word for text in TEXTS for word in words(text.read_text()))

    pachctl.put("texts@master:/more/poem", "Rose is a rose is a rose\n'is' a rose\n")
    pachctl("flush", "commit", "texts@master")
    before = Counter(word for text in TEXTS for word in words(text.read_text()))
    assert counted(pachctl) - before == Counter({"rose": 4, "a": 3, "is": 3})


def counted(pachctl: Pachctl) -> Counter[str]:
    rows = csv.DictReader(io.StringIO(pachctl("get", "file", "words@master:/words.csv").out))
    return Counter({row["word"]: int(row["count"]) for row in rows})
