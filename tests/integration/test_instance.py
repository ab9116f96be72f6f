"""Dagster's databases in a home are made by one process, however many come first."""

import os
import subprocess
import sys
from pathlib import Path

OPEN = """
import os
from pachyderm_dagster.integration.instance import open_instance
from pachyderm_dagster.settings import load_settings
with open_instance(load_settings(os.environ)) as instance:
    print(len(instance.get_runs()))
"""


def test_processes_that_open_a_new_home_at_once_all_succeed(tmp_path: Path) -> None:
    environ = {**os.environ, "PACHYDERM_HOME": str(tmp_path / "home")}
    openers = [subprocess.Popen([sys.executable, "-c", OPEN], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(opener.communicate(), opener.returncode) for opener in openers] == [(("0\n", ""), 0)] * 4
