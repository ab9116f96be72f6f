"""What no file of the project may have in it."""

import re
import subprocess

from tests.cli.pachctl import ROOT

MARK = re.compile(rb"^(<{7} |>{7} |={7}$)", re.MULTILINE)


def test_no_file_has_the_marks_of_changes_that_met() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    files = [ROOT / name for name in names if name]
    assert len(files) > 1000
    assert [file for file in files if file.is_file() and MARK.search(file.read_bytes())] == []
