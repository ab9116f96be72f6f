"""What a specification names that this machine does not have, by what its jobs will fail with: told when a pipeline is made, since it may still come, or be
there in the image where another machine runs it.
"""

import os

from pachyderm_dagster.errors import ExecutionError
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.worker.sandbox import PFS
from pachyderm_dagster.worker.users import find_user

_WORKERS_A_PROCESSOR = 16


def find_missing(spec: PipelineSpec) -> list[str]:
    """A line for each."""
    lines = []
    if spec.transform.user:
        try:
            find_user(spec.transform.user, own_id=os.geteuid())
        except ExecutionError as error:
            lines.append(str(error))
    folder, made = spec.transform.working_dir, [PFS, *(use.mount_path for use in spec.transform.secrets if use.mount_path)]
    if folder and not os.path.isdir(folder) and not any(f"{folder}/".startswith(f"{one.rstrip('/')}/") for one in made):
        lines.append(f"there is no folder {folder!r} here, which is transform.working_dir [working-dir-invalid]")
    return lines


def find_excess(spec: PipelineSpec) -> str | None:
    """What is said of more workers than do this machine any good; None for fewer."""
    workers, processors = spec.parallelism_spec.constant, os.cpu_count() or 1
    if workers <= _WORKERS_A_PROCESSOR * processors:
        return None
    return f"it asks for up to {workers:,} workers at once, and this machine has {processors} processors"
