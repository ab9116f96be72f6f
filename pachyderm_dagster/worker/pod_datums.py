"""Where datums run whose user code is in the container of its image, beside the worker's: the one place that puts the two together."""

import contextlib
import os
from collections.abc import Iterator

import msgspec

from pachyderm_dagster.log_lines import JSON, about_job
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.worker.datums import DatumRunner, Elsewhere
from pachyderm_dagster.worker.echo import Echo, EchoedToo, LoggedEcho
from pachyderm_dagster.worker.folders import FolderPool, empty_folder, remove_entry
from pachyderm_dagster.worker.output_log import Listener
from pachyderm_dagster.worker.pipe_calls import PipeCalls
from pachyderm_dagster.worker.protocol import WorkerSetup
from pachyderm_dagster.worker.sandbox import PFS, Sandbox
from pachyderm_dagster.worker.serving import Files
from pachyderm_dagster.worker.source_folder import SOURCE, write_source
from pachyderm_dagster.worker.starter import NEXT, PACH
from pachyderm_dagster.worker.starter_runner import Image, StarterRunner


@contextlib.contextmanager
def datums_in_pod(
    runner: StarterRunner, store: ObjectStore, setup: WorkerSetup, image: Image, log_format: str, *, log: Listener | None = None
) -> Iterator[tuple[DatumRunner, Files]]:
    """What runs datums in the container of user code, and their files; nothing is left of what a job or worker had before. Logs of the block are about the job.

    Args:
        log: gets what user code prints, too.

    Raises:
        PachydermError: the store does not give the source folder, or the disk is full.
    """
    reader = ContentReader(store)
    _clear()
    source = f"{PACH}/run/{SOURCE}"
    if setup.source_files:
        write_source(setup.source_files, source, reader)
    setup = _in_image(setup, image, f"{PACH}/run")
    runner.accept(setup.accept_return_code)
    with contextlib.ExitStack() as exits:
        datums = DatumRunner(
            setup,
            Sandbox(PFS, f"{PACH}/pfs", None),
            runner,
            reader,
            source=source if setup.source_files else "",
            calls=exits.enter_context(_calls(setup)) if setup.datum_batching else None,
            elsewhere=Elsewhere((image.user, image.group), (PFS, source), runner.memory),
            listener=lambda task, _started: _listener(LoggedEcho(task.id) if log_format == JSON else Echo(), log),
        )
        exits.enter_context(_about(setup))
        pool = FolderPool(f"{PACH}/datums")
        yield datums, Files(reader, ContentWriter(store), pool, PFS, links_elsewhere=True, is_bounded=setup.memory_volume)


def _listener(echo: Listener, log: Listener | None) -> Listener:
    return echo if log is None else EchoedToo(log, echo)


def _calls(setup: WorkerSetup) -> PipeCalls:
    return PipeCalls(f"{PACH}/run", os.pathsep.join([setup.environment.get("PATH", os.defpath), f"{PACH}/bin/{NEXT}"]))


def _clear() -> None:
    """Removes what a job before left, or a worker that was killed of its datum."""
    for path in (f"{PACH}/datums", f"{PACH}/run/{SOURCE}"):
        if os.path.lexists(path):
            remove_entry(path)
    empty_folder(f"{PACH}/pfs")


def _about(setup: WorkerSetup) -> contextlib.AbstractContextManager[None]:
    """What is logged in the block is about the job of a setup."""
    project, pipeline, job = (setup.environment.get(name, "") for name in ("PPS_PROJECT_NAME", "PPS_PIPELINE_NAME", "PACH_JOB_ID"))
    return about_job(project, pipeline, job)


def _in_image(setup: WorkerSetup, image: Image, run: str) -> WorkerSetup:
    """The setup with what the image says where the pipeline does not; `run` is a folder that both containers know."""
    folder = setup.working_dir or (f"{PFS}/{SOURCE}" if setup.source_files else "")
    environment = {**image.environment, **setup.environment}
    return msgspec.structs.replace(
        setup, environment=environment, working_dir=os.path.join(image.folder, folder), scratch=run, image="", user="", cgroups=(), terminal=False
    )
