"""What a worker of a pipeline must know before it gets datums."""

from pachyderm_dagster.executors.limits import limits_of
from pachyderm_dagster.pfs.model import RepoName
from pachyderm_dagster.pps.spec import PipelineSpec
from pachyderm_dagster.storage.content import Content
from pachyderm_dagster.worker.protocol import WorkerSetup
from pachyderm_dagster.workspace import Workspace


def worker_setup(
    workspace: Workspace, name: RepoName, spec: PipelineSpec, *, set_id: str | None, spec_commit: str, source: tuple[tuple[str, Content], ...]
) -> WorkerSetup:
    """The setup of workers for the datums of a job.

    Args:
        set_id: the job's; None for a spout, which has none.
        spec_commit: id of the commit that made this version of the pipeline.
        source: files of its source folder, by path below it.

    Raises:
        NotFoundError: for a secret that is not there.
        InvalidError: for one that cannot be used as the pipeline asks.
    """
    pods = workspace.settings.kubernetes
    # Pods are given secrets by the cluster.
    secrets = spec.transform.secrets if pods is None else ()
    return WorkerSetup(
        store_url=workspace.settings.storage_url,
        scratch=str(workspace.scratch),
        cmd=spec.transform.cmd,
        stdin=spec.transform.stdin,
        err_cmd=spec.transform.err_cmd,
        err_stdin=spec.transform.err_stdin,
        working_dir=spec.transform.working_dir or None,
        accept_return_code=spec.transform.accept_return_code,
        datum_tries=spec.datum_tries,
        datum_timeout=spec.datum_timeout,
        image=spec.transform.image if pods is None else "",
        secret_files=workspace.secrets.files(secrets),
        source_files=source,
        datum_batching=spec.transform.datum_batching,
        user=spec.transform.user,
        memory_volume=spec.transform.memory_volume,
        limits=limits_of(spec),
        environment={
            **spec.transform.env,
            **workspace.secrets.variables(secrets),
            **({} if set_id is None else {"PACH_JOB_ID": set_id, "PACH_OUTPUT_COMMIT_ID": set_id}),
            "PACH_NAMESPACE": "local" if pods is None else pods.namespace,
            "PACH_IN_WORKER": "true",
            "PPS_PIPELINE_NAME": name.name,
            "PPS_PROJECT_NAME": name.project,
            "PPS_SPEC_COMMIT": spec_commit,
        },
    )
