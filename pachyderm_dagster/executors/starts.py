"""What the process of a service or a spout is started with."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pyarrow as pa

from pachyderm_dagster.errors import InvalidError, StateError
from pachyderm_dagster.executors.environments import worker_environment
from pachyderm_dagster.executors.setups import worker_setup
from pachyderm_dagster.executors.tasks import datum_tasks
from pachyderm_dagster.pps.job_inputs import get_spec_commit, load_job_inputs
from pachyderm_dagster.pps.model import Job, Pipeline
from pachyderm_dagster.pps.planning import find_datums, make_sources
from pachyderm_dagster.settings import HOME, METADATA_URL, PROJECT
from pachyderm_dagster.worker.protocol import DatumTask, WorkerSetup
from pachyderm_dagster.workspace import Workspace

SERVICE_HOST = "127.0.0.1"
GRACE_SECONDS = 5.0
# A spout has no datum; a worker names what it runs by one.
_NO_DATUM = "0" * 64


@dataclass(frozen=True, slots=True)
class Start:
    """All that a worker has to be told.

    Attributes:
        job: what a service serves, claimed; None for a spout.
    """

    setup: WorkerSetup
    task: DatumTask
    port: int | None
    job: Job | None = None


def start_of_service(workspace: Workspace, job: Job, folder: Path, environ: Mapping[str, str]) -> Start:
    """What a service is to serve: the one datum of a job that was claimed.

    Args:
        folder: for its log.
        environ: of this machine.

    Raises:
        StateError, InvalidError, NotFoundError: as `code_of_service`.
    """
    code = code_of_service(workspace, job)
    return Start(_on_this_machine(code, folder, worker_environment(environ)), code.task, code.pipeline.spec.port, job)


def start_of_spout(workspace: Workspace, pipeline: Pipeline, folder: Path, environ: Mapping[str, str]) -> Start:
    """What a spout is to be told: how it reaches the home, in which it writes its own commits. Errors and arguments as `start_of_service`."""
    code = code_of_spout(workspace, pipeline)
    home = {HOME: str(workspace.settings.home), PROJECT: pipeline.name.project}
    if METADATA_URL in environ:
        home[METADATA_URL] = environ[METADATA_URL]
    return Start(_on_this_machine(code, folder, {**worker_environment(environ), **home}), code.task, pipeline.spec.port)


@dataclass(frozen=True, slots=True)
class Code:
    """What is to run of a service or a spout, wherever that is."""

    pipeline: Pipeline
    setup: WorkerSetup
    task: DatumTask


def code_of_service(workspace: Workspace, job: Job) -> Code:
    """The one datum of a job that was claimed.

    Raises:
        StateError: `job-unrunnable`, when an input has an error.
        InvalidError: `service-datums`, `command-missing`; as `find_datums` and `worker_setup`.
        NotFoundError: as `worker_setup`.
    """
    with workspace.database.read() as txn:
        inputs = load_job_inputs(txn, job)
    pipeline = inputs.pipeline
    if inputs.failed_inputs:
        raise StateError("job-unrunnable", inputs.why_unrunnable)
    trees, sources = workspace.pfs.trees, make_sources(inputs.commits)
    datums = find_datums(trees, pipeline.spec, sources, pipeline.salt, workspace.scratch)
    if len(datums) != 1:
        problem = f"the input of service '{pipeline.name}' gives {len(datums)} datums, and a service serves one"
        raise InvalidError("service-datums", f"{problem}; write glob: / for all files, and put one there if the branch has none")
    setup = _setup(workspace, pipeline, job.id, inputs.spec_commit)
    return Code(pipeline, setup, next(datum_tasks(trees, datums, pa.array([0], pa.int64()), sources)))


def code_of_spout(workspace: Workspace, pipeline: Pipeline) -> Code:
    """The code, which has no datum. Errors as `code_of_service`."""
    with workspace.database.read() as txn:
        spec_commit = get_spec_commit(txn, pipeline)
    return Code(pipeline, _setup(workspace, pipeline, None, spec_commit), DatumTask(id=_NO_DATUM, index=0, inputs=()))


def in_service(setup: WorkerSetup, pipeline: Pipeline, host: str) -> WorkerSetup:
    """The setup of one that is told by its environment where it is to listen."""
    port = pipeline.spec.port
    told = {} if port is None else {"PACH_SERVICE_HOST": host, "PACH_SERVICE_PORT": str(port)}
    return msgspec.structs.replace(setup, environment={**told, **setup.environment})


def _setup(workspace: Workspace, pipeline: Pipeline, set_id: str | None, spec_commit: str) -> WorkerSetup:
    """The setup of a worker whose one program stays."""
    source = workspace.pps.list_source(pipeline.name, spec_commit) if pipeline.spec.transform.build is not None else ()
    setup = worker_setup(workspace, pipeline.name, pipeline.spec, set_id=set_id, spec_commit=spec_commit, source=source)
    if not setup.cmd:
        raise InvalidError("command-missing", "the pipeline has no transform.cmd, so there is nothing to run; `pachctl update pipeline` with a command")
    return msgspec.structs.replace(setup, err_cmd=(), datum_tries=1, datum_timeout=None)


def _on_this_machine(code: Code, folder: Path, environment: Mapping[str, str]) -> WorkerSetup:
    # `pachctl` and the Python with the client are found where the user's path does not lead to them.
    path = os.pathsep.join([environment.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    setup = in_service(code.setup, code.pipeline, SERVICE_HOST)
    return msgspec.structs.replace(setup, kept_log=str(folder), grace=GRACE_SECONDS, environment={**environment, "PATH": path, **setup.environment})
