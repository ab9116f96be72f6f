"""What the pod of a service or a spout is to run: written into its area, and said in its manifests (docs/design/0033)."""

import dataclasses
import datetime as dt
from collections.abc import Callable

import msgspec

from pachyderm_dagster.codec import digest
from pachyderm_dagster.errors import InvalidError, NotFoundError, StateError
from pachyderm_dagster.executors.kubernetes.cluster_secrets import copied_secrets, secret_names
from pachyderm_dagster.executors.kubernetes.commands import kept_commands
from pachyderm_dagster.executors.kubernetes.kept_manifests import Serving, content_of, life_of
from pachyderm_dagster.executors.kubernetes.manifests import Pods
from pachyderm_dagster.executors.kubernetes.names import KEPT_LABEL, KeptNames, WorkerNames, kept_name
from pachyderm_dagster.executors.kubernetes.patches import Manifest
from pachyderm_dagster.executors.service_jobs import claim, end_service_job
from pachyderm_dagster.executors.starts import Code, code_of_service, code_of_spout, in_service
from pachyderm_dagster.pps.model import JobState, Pipeline
from pachyderm_dagster.pps.wanted import Wanted
from pachyderm_dagster.settings import HOME, KUBERNETES_SPOUT_SECRET, PROJECT, STORAGE_URL, KubernetesSettings
from pachyderm_dagster.worker.protocol import IN_CONTAINER, encode
from pachyderm_dagster.worker.work_area import LAYOUT, WorkArea, is_area_name
from pachyderm_dagster.workspace import Workspace

POD_HOST = "0.0.0.0"
"""Where code listens: of its pod's own network."""
SPOUT_HOME = "/tmp/pachyderm-dagster"
"""The folder of the home in the pod of a spout: nothing is kept there."""
_AREA_ID = 16


class KeptCode:
    """What pods of a home, which is given by the id of its store, are to run. `tell` takes lines for people."""

    def __init__(self, workspace: Workspace, settings: KubernetesSettings, home: str, tell: Callable[[str], None]) -> None:
        self._workspace, self._settings, self._home, self._tell = workspace, settings, home, tell

    def prepare(self, one: Wanted, serves: str) -> str | None:
        """Writes what the pod is to run; the name of its area, or None when the job cannot be served, which ends it."""
        if one.job is None:
            code = self._spout(one.pipeline)
        else:
            try:
                job = one.job if one.job.state is not JobState.CREATED else claim(self._workspace, one.job)
                code = code_of_service(self._workspace, job)
            except StateError as error:
                if error.code == "job-unrunnable":
                    end_service_job(self._workspace, one.job, JobState.UNRUNNABLE, error.message)
                # Otherwise it was ended meanwhile, or an input was opened again.
                return None
            except (InvalidError, NotFoundError) as error:
                self._tell(f"service {one.pipeline.name}: job {one.job} failed: {error}")
                end_service_job(self._workspace, one.job, JobState.FAILURE, str(error))
                return None
        setup = msgspec.structs.replace(in_service(code.setup, code.pipeline, POD_HOST), kept_log=IN_CONTAINER)
        own = digest("kept-code", [serves.encode(), encode(setup), encode(code.task), str(LAYOUT).encode()]).hex()[:_AREA_ID]
        area = WorkArea(self._workspace.store, f"{kept_name(one.pipeline.name)}.{self._home[:8]}{own}")
        area.begin(setup)
        area.write_sets([[code.task]])
        return area.job

    def _spout(self, pipeline: Pipeline) -> Code:
        """The code of a spout, which is told where store and project are; the Secret tells it how the record is reached."""
        if not self._settings.spout_secret:
            problem = f"spout '{pipeline.name}' is not started: its code writes commits as any client does, and nothing gives its pod access to the record"
            raise InvalidError("spout-access-missing", f"{problem}; name a Secret with PACHYDERM_METADATA_URL in {KUBERNETES_SPOUT_SECRET}")
        code = code_of_spout(self._workspace, pipeline)
        told = {HOME: SPOUT_HOME, PROJECT: pipeline.name.project, STORAGE_URL: self._workspace.settings.storage_url}
        setup = msgspec.structs.replace(code.setup, environment={**told, **code.setup.environment})
        return dataclasses.replace(code, setup=setup)

    def stands(self, area: str) -> bool:
        """Whether a pod that begins anew finds in an area what it is to run, or will when its image is as new as what wrote that."""
        # It comes from an annotation, which somebody may have changed.
        layout = WorkArea(self._workspace.store, area).layout() if is_area_name(area) else None
        return layout is not None and layout >= LAYOUT

    def serving(self, pipeline: Pipeline, serves: str, area: str) -> Serving:
        """What the Deployment says of itself."""
        secrets = self._workspace.secrets
        own = {use.name for use in pipeline.spec.transform.secrets} & set(secrets.names())
        ages = {name: secrets.get(name).created.astimezone(dt.UTC).isoformat(timespec="microseconds") for name in sorted(own)}
        return Serving(serves, content_of(pipeline, serves), area, ages)

    def pods(self, pipeline: Pipeline, serving: Serving) -> tuple[Pods, list[Manifest]]:
        """What the pod is made from, and the copies of secrets that it uses, whose names change with them."""
        spec, secrets, settings = pipeline.spec, self._workspace.secrets, self._workspace.settings
        ages = "".join(f"{name} {age}\n" for name, age in serving.secrets.items())
        copies = WorkerNames(self._home, pipeline.name, pipeline.version, ages.encode())
        called = secret_names(spec, secrets, copies)
        names = KeptNames(self._home, pipeline.name, pipeline.version)
        commands = kept_commands(serving.area, settings.storage_url, settings.log_format)
        made = copied_secrets(called, secrets, copies)
        for copy in made:
            copy["metadata"]["labels"] |= {KEPT_LABEL: names.name}
        return Pods(names, spec, self._settings, commands, called, life_of(spec)), made
