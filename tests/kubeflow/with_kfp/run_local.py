"""Runs a pipeline file under kfp's own local orchestrator: `python run_local.py FILE ROOT [NAME=VALUE]...`; PACHYDERM_HOME is what its tasks open."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from kfp import components, local

_, file, root, *given = sys.argv
local.init(runner=local.DockerRunner(environment={"PACHYDERM_HOME": os.environ["PACHYDERM_HOME"]}), pipeline_root=root)
components.load_component_from_file(file)(**dict(one.split("=", 1) for one in given))
