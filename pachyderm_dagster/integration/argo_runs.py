"""What a step does that runs a workflow of Argo, or one part of it: the engine runs in a thread, and the step tells of it, waits for answers, and ends it."""

import contextlib
import functools
import os
import queue
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

import dagster as dg
import msgspec

import pachyderm_dagster.integration.labels as labels
from pachyderm_dagster.argo.answering import answer, asked_of
from pachyderm_dagster.argo.artifact_commits import BRANCH, commit_artifacts
from pachyderm_dagster.argo.control import STOPPED, TERMINATE
from pachyderm_dagster.argo.driving import run_whole
from pachyderm_dagster.argo.nodes import Node
from pachyderm_dagster.argo.open_objects import open_objects
from pachyderm_dagster.argo.open_place import open_place
from pachyderm_dagster.argo.part_runs import PartEnd, abandon, begin_attempt, has_failed_part, is_of, run_part, settle
from pachyderm_dagster.argo.run_folder import Ending, RunFolder
from pachyderm_dagster.argo.runs import Runs
from pachyderm_dagster.argo.subject import Subject
from pachyderm_dagster.argo.submitting import new_subject, of_schedule
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import ExistsError, PachydermError
from pachyderm_dagster.integration.argo_config import ANSWERS, PARAMETERS
from pachyderm_dagster.integration.argo_jobs import WorkflowStep
from pachyderm_dagster.integration.argo_logs import PodLogs
from pachyderm_dagster.integration.argo_shown import Metadata, told_of, workflow_metadata
from pachyderm_dagster.integration.argo_thread import InThread
from pachyderm_dagster.integration.dagster_inner import report_to_run
from pachyderm_dagster.integration.data_versions import version_tags
from pachyderm_dagster.integration.translator import branch_key
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT, BranchName
from pachyderm_dagster.pfs.reference_texts import parse_repo
from pachyderm_dagster.settings import load_settings

_LOOK_SECONDS = 0.25
_ANSWER_SECONDS = 0.5
_MOST_LINES = 20
"""So many changes of nodes at once are told one by one."""
_NOT_LABELS = ("dagster/", ".dagster/", "pachyderm/")
End = PartEnd | Ending


def run_step(step: WorkflowStep, context: dg.OpExecutionContext) -> dg.Output[None]:
    """Runs a workflow or one part of it; nodes that succeeded in a run that this one repeats from its failure are kept.

    Raises:
        dg.Failure: when it did not succeed.
    """
    try:
        return _Stepping(step, context).run()
    except PachydermError as error:
        raise dg.Failure(str(error)) from error


def name_of_run(instance: dg.DagsterInstance, run: dg.DagsterRun, base: str) -> str:
    """The name of the workflow that a run of Dagster runs. One that repeats another from its failure, or some steps of it, runs that one's on."""
    while run.parent_run_id and (run.tags.get(labels.RESUMES) == "true" or run.step_keys_to_execute):
        parent = instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            break
        run = parent
    scheduled = run.tags.get(labels.WORKFLOW) if run.parent_run_id is None else None
    return scheduled or f"{base}-{run.run_id.partition('-')[0]}"


class _Stepping:
    """One step, in the process that does it."""

    def __init__(self, step: WorkflowStep, context: dg.OpExecutionContext) -> None:
        self._step, self._context, self._runs, self._clock = step, context, _runs(step.environ), SystemClock()
        self._name = name_of_run(context.instance, context.run, step.workflow.name)
        self._changed: queue.SimpleQueue[Node] = queue.SimpleQueue()

    def run(self) -> dg.Output[None]:
        folder = self._open()
        self._context.instance.add_run_tags(self._context.run.run_id, {labels.WORKFLOW: folder.name})
        begin_attempt(folder, self._context.run.run_id)
        self._folder, self._logs = folder, PodLogs(folder)
        with folder.running(shared=self._step.part is not None):
            self._forget(folder)
            end = self._run_on(folder)
            ending = settle(self._runs, folder, self._clock, _ignore) if self._step.part is not None else folder.ending()
        if ending is not None:
            self._materialize(folder)
        return self._told(folder, end, ending)

    def _materialize(self, folder: RunFolder) -> None:
        """Tells of the commit that the artifacts of a run are, if it has any."""
        commit = folder.commit()
        if commit is None:
            return
        repo, _, id = commit.partition("@")
        key = branch_key(BranchName(parse_repo(repo, project=DEFAULT_PROJECT), BRANCH))
        metadata = {labels.COMMIT: id, labels.WORKFLOW: folder.name}
        self._context.log_event(dg.AssetMaterialization(key, description=f"Artifacts of workflow {folder.name}.", metadata=metadata, tags=version_tags(id)))

    def _open(self) -> RunFolder:
        try:
            return self._runs.create(self._subject(), network=self._step.network)
        except ExistsError:
            # Of another step of this run, or of the run that this one repeats.
            return self._runs.get(self._name)

    def _subject(self) -> Subject:
        loaded, run = self._step.workflow, self._context.run
        given = self._context.op_config.get(PARAMETERS) or {}
        # What it is generated from is what its runs have in common, such as the repo of their artifacts.
        metadata = msgspec.structs.replace(loaded.metadata, name=self._name, generate_name=loaded.metadata.generate_name or f"{loaded.name}-")
        if loaded.cron is not None and labels.SCHEDULED_TIME in run.tags:
            scheduled = of_schedule(loaded.cron, 0, run.tags[labels.SCHEDULED_TIME])
            metadata = msgspec.structs.replace(scheduled, name=self._name)
        tags = {name: value for name, value in run.tags.items() if not name.startswith(_NOT_LABELS)}
        labelled = msgspec.structs.replace(metadata, labels={**metadata.labels, **tags})
        return new_subject(labelled, loaded.spec, loaded.library, given, self._clock)

    def _forget(self, folder: RunFolder) -> None:
        """Of a whole that failed in this same run, and that Dagster tries again."""
        ending = folder.ending()
        if self._step.part is None and ending is not None and ending.phase.is_failure:
            folder.forget_failures()

    # --- running

    def _run_on(self, folder: RunFolder) -> End:
        """Runs it to its end; while all that it waits for is an answer, so does the step."""
        told: list[str] = []
        try:
            while (end := self._engine(folder)) is None:
                self._wait_for_answer(folder, told)
            return end
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
            if self._is_cancelled():
                self._end_now(folder)
            raise

    def _engine(self, folder: RunFolder) -> End | None:
        running = InThread(self._coroutine(folder))
        try:
            while not running.wait(_LOOK_SECONDS):
                self._tell()
        except BaseException:
            # Interrupted, or Dagster cannot be told. Without an ending: whoever runs it on begins where it was.
            running.cancel()
            with contextlib.suppress(Exception):
                self._tell()
            raise
        self._tell()
        return running.result()

    def _coroutine(self, folder: RunFolder) -> Coroutine[Any, Any, End | None]:
        if self._step.part is None:
            return run_whole(self._runs, folder, self._clock, self._changed.put)
        return run_part(self._runs, folder, self._step.part, self._clock, self._changed.put)

    def _is_cancelled(self) -> bool:
        """Whether a user cancelled the run; a machine that shuts down interrupts it too."""
        run = self._context.instance.get_run_by_id(self._context.run.run_id)
        return run is not None and run.status is dg.DagsterRunStatus.CANCELING

    def _end_now(self, folder: RunFolder) -> None:
        folder.ask_to_stop(TERMINATE)
        abandon(self._runs, folder, self._clock, STOPPED + TERMINATE)

    # --- answers

    def _wait_for_answer(self, folder: RunFolder, told: list[str]) -> None:
        part = self._step.part
        waiting = [node for node in folder.suspended() if part is None or is_of(part, folder, node.name)]
        given = self._context.op_config.get(ANSWERS) or {}
        for node in waiting:
            for name in (node.name, node.display_name):
                if name in given:
                    answer(folder, given[name], node=node.name)
                    return
        for node in waiting:
            if node.name not in told:
                told.append(node.name)
                self._ask(folder, node)
        if folder.is_suspended() and folder.name not in told:
            told.append(folder.name)
            self._context.log.warning("workflow %s is suspended: `pachctl argo resume %s` has it go on", folder.name, folder.name)
        names = {node.name for node in waiting}
        pause = threading.Event()
        while self._still_waits(folder, names):
            pause.wait(_ANSWER_SECONDS)

    def _still_waits(self, folder: RunFolder, names: set[str]) -> bool:
        """Whether nothing was said since it began to wait, of these nodes or, without any, of the workflow."""
        if folder.asked_to_stop() is not None:
            return False
        return names <= {node.name for node in folder.suspended()} if names else folder.is_suspended()

    def _ask(self, folder: RunFolder, node: Node) -> None:
        asked, job = asked_of(folder, [node]), self._step.answered_by
        parameters = "".join(f" -p {name}=VALUE" for name in asked)
        only = "" if len(folder.suspended()) == 1 else f" --node {node.display_name}"
        command = f"pachctl argo resume {folder.name}{only}{parameters}"
        config = {"workflow": folder.name, "node": node.display_name, PARAMETERS: dict.fromkeys(asked, "VALUE")}
        report_to_run(
            self._context.instance,
            self._context.run,
            f"{node.display_name} waits for somebody to answer: `{command}`, or launch the job '{job}'",
            {
                "command": dg.MetadataValue.text(command),
                f"configuration of {job}": dg.MetadataValue.json({"ops": {job: {"config": config}}}),
            },
            step_key=self._step.name,
        )

    # --- telling

    def _tell(self) -> None:
        """Tells of nodes that changed, and of what their pods printed; of a part not what is above it."""
        changed: list[Node] = []
        while not self._changed.empty():
            node = self._changed.get()
            if self._step.part is None or is_of(self._step.part, self._folder, node.name):
                changed.append(node)
        for node in changed:
            self._logs.note(node)
        lines = told_of(changed)
        if len(lines) > _MOST_LINES:
            lines = ["\n".join(lines)]
        for line in lines:
            self._context.log.info("%s", line)
        printed = self._logs.read()
        if printed:
            self._context.log.info("%s", printed)

    def _told(self, folder: RunFolder, end: End, ending: Ending | None) -> dg.Output[None]:
        nodes = folder.nodes()
        part = self._step.part
        own = [node for node in nodes.values() if part is None or is_of(part, folder, node.name)]
        result = nodes.get(folder.name + (part.place if part is not None else ""))
        metadata = workflow_metadata(folder.name, own, result)
        if part is not None and ending is not None:
            self._report_ending(folder, nodes, ending)
        if end.phase.is_failure:
            raise dg.Failure(_failure(part.name if part is not None else folder.name, end, nodes), metadata=metadata)
        if ending is not None and ending.phase.is_failure and not has_failed_part(folder):
            # All its parts did what they should: what failed is what comes of them.
            raise dg.Failure(_failure(folder.name, ending, nodes), metadata=metadata)
        return dg.Output(None, metadata=metadata)

    def _report_ending(self, folder: RunFolder, nodes: Mapping[str, Node], ending: Ending) -> None:
        metadata: Metadata = workflow_metadata(folder.name, list(nodes.values()), nodes.get(folder.name))
        said = f": {ending.message}" if ending.message else ""
        report_to_run(self._context.instance, self._context.run, f"workflow {folder.name} {ending.phase}{said}", metadata)


def _failure(what: str, end: End, nodes: Mapping[str, Node]) -> str:
    pods = [node for node in nodes.values() if node.phase.is_failure and node.pod]
    said = f": {end.message}" if end.message else ""
    first = f"; {pods[0].display_name}: {pods[0].message}" if pods and pods[0].message not in said else ""
    return f"{what} ended as {end.phase}{said}{first}"


def _ignore(_node: Node) -> None: ...


def _runs(environ: Mapping[str, str] | None) -> Runs:
    found = os.environ if environ is None else environ
    settings = load_settings(found)
    return Runs(settings.home, functools.partial(commit_artifacts, found), functools.partial(open_objects, found), open_place(settings))


def answer_workflow(environ: Mapping[str, str] | None, context: dg.OpExecutionContext) -> None:
    """Resumes what waits in a workflow, which another run runs.

    Raises:
        dg.Failure: when nothing waits there, or for other parameters.
    """
    config = context.op_config
    try:
        folder = _runs(environ).get(config["workflow"])
        answer(folder, config.get(PARAMETERS) or {}, node=config.get("node") or None)
    except PachydermError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    if not folder.is_running():
        step = f"no process runs it now: re-execute the run that it is of, or `pachctl argo retry {folder.name}`"
        context.log.warning("the answer for workflow %s is kept; %s", folder.name, step)
