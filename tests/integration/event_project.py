"""A code location of the files in `events` of the home that the environment names."""

import os
from pathlib import Path

from pachyderm_dagster.integration import argo_definitions

defs = argo_definitions(Path(os.environ["PACHYDERM_HOME"]) / "events")
