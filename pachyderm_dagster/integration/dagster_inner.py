"""What the integration needs of Dagster beyond its public names, all in this place.

Beside it stands only `dagster_code`, which takes long to import.

What the IO manager takes is guarded: where a later Dagster has it no more, only staleness gets less exact.
"""

import contextlib
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.events import EngineEventData
from dagster._core.execution.context.data_version_cache import InputAssetVersionInfo
from dagster._core.instance.ref import InstanceRef
from dagster._grpc.client import DagsterGrpcClient

import pachyderm_dagster.integration.labels as labels

Asset = TypeVar("Asset", bound=dg.AssetsDefinition)
_SPEC = (
    *("key", "deps", "description", "metadata", "skippable", "group_name", "code_version", "automation_condition", "owners", "kinds", "partitions_def"),
    "freshness_policy",
)
_KIND = "dagster/kind/"
_ORIGIN = "dagster/component_origin"
"""Metadata that Dagster writes into copies of all that a component defines."""
_IO_MANAGER = "dagster/io_manager_key"
"""Metadata that an asset has which is made elsewhere, and kept by an IO manager."""
DAEMON_MODULE = "dagster._daemon"
"""What `dagster-daemon` runs; a script's folder need not be on the path."""
# Capturing what a step prints starts two processes a step, and takes the terminal away from whoever shows progress on it.
_IN_PROCESS = {"compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}}
_UNKNOWN = dg.DagsterInvariantViolationError, AttributeError, TypeError
"""What is raised for what contexts outside of a run lack, and other versions of Dagster may."""


class SharedSensor(dg.SensorDefinition):
    """A sensor that several components define, as one object: Dagster copies what a component defines, and takes no two sensors of one name."""

    def with_attributes(self, **_changes: Any) -> Self:
        """This one: it is no single component's."""
        return self


class SharedSpec(dg.AssetSpec):
    """An external asset that several components define alike: Dagster takes two that are equal, and they are no single component's."""

    def replace_attributes(self, **changes: Any) -> dg.AssetSpec:
        """As for any asset, but for the component's name in it."""
        return self if _ORIGIN in (changes.get("metadata") or {}) else super().replace_attributes(**changes)


def shared(spec: dg.AssetSpec) -> SharedSpec:
    """The same, as one that several may define."""
    tags = {name: value for name, value in spec.tags.items() if not name.startswith(_KIND)}
    return SharedSpec(**{name: getattr(spec, name) for name in _SPEC}, tags=tags)


def open_instance_of(folder: Path, *, runs_here: bool = False) -> dg.DagsterInstance:
    """The instance whose DAGSTER_HOME is `folder`, for a `with` block.

    Args:
        runs_here: runs are executed in this process.
    """
    # Not `DagsterInstance.from_config`: only the reference takes overrides.
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(folder), overrides=_IN_PROCESS if runs_here else None))


def is_served(socket: Path, *, seconds: int) -> bool:
    """Whether the process that holds the definitions of a code server is there: it is another one than that which listens, and may end alone.

    Args:
        seconds: how long is waited for an answer; what takes longer is there, and busy.
    """
    try:
        DagsterGrpcClient(socket=str(socket)).get_server_id(timeout=seconds)
    except DagsterUserCodeUnreachableError as error:
        code = getattr(error.__cause__, "code", None)
        return code is not None and code().name == "DEADLINE_EXCEEDED"
    return True


def has_version(instance: dg.DagsterInstance, key: dg.AssetKey, version: str) -> bool:
    """Whether a materialization of the asset is this data version, which Dagster has an index of."""
    return bool(instance.get_event_tags_for_asset(key, {labels.DATA_VERSION: version}))


def stopped_names(instance: dg.DagsterInstance) -> set[str]:
    """The names of schedules and sensors that a user stopped."""
    return {state.instigator_name for state in instance.all_instigator_state() if state.status.value == "STOPPED"}


def make_tables(instance: dg.DagsterInstance) -> None:
    """Makes the tables of all of an instance's storages, as the first question to each does."""
    instance.get_run_records(limit=1)
    instance.fetch_materializations(dg.AssetKey("none"), limit=1)
    instance.all_instigator_state()


def report_to_run(
    instance: dg.DagsterInstance, run: dg.DagsterRun, message: str, metadata: Mapping[str, dg.MetadataValue], *, step_key: str | None = None
) -> None:
    """Writes an event with metadata into a run's log, which is no step's output."""
    instance.report_engine_event(message, run, EngineEventData(metadata=metadata), step_key=step_key)


def cancel_run(instance: dg.DagsterInstance, run_id: str) -> None:
    """Ends a run, wherever it waits or runs; it may take a while."""
    instance.run_coordinator.cancel_run(run_id)


def layer_of_run(context: dg.AssetExecutionContext) -> Any:
    """What the job that a step is in knows of assets."""
    return context.job_def.asset_layer


def graph_of_run(context: dg.AssetExecutionContext) -> Any:
    """The assets of that job, with what is defined of each."""
    return layer_of_run(context).asset_graph


def selected_in_run(context: dg.AssetExecutionContext) -> Collection[dg.AssetKey]:
    """The assets that a run is to make; a step knows its own ones only."""
    found: Collection[dg.AssetKey] = layer_of_run(context).selected_asset_keys
    return found


def is_made_by_code(node: Any) -> bool:
    """Whether code makes an asset of a graph. In the graph of a job that leaves it out, all that tells is that something keeps what it returns."""
    return bool(node.is_materializable) or _IO_MANAGER in node.metadata


def step_of(graph: Any, key: dg.AssetKey) -> str:
    """The name of the step that makes an asset."""
    return str(graph.get(key).assets_def.op.name)


def become(copy: Asset, original: dg.AssetsDefinition) -> Asset:
    """`copy`, of a class of ours and not initialized, as the asset that `original` is: Dagster's own constructor takes none."""
    vars(copy).update(vars(original))
    return copy


def set_data_version(context: dg.OutputContext, version: str) -> None:
    """Makes `version` the data version of the materialization that Dagster writes for this output, unless the user's code gave one."""
    with contextlib.suppress(*_UNKNOWN):
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))


def find_recorded_event(context: dg.InputContext) -> int | None:
    """Where Dagster keeps the event that it takes this input to be made of; None outside of a run, and for what it knows nothing of."""
    try:
        found = context.step_context.maybe_fetch_and_get_input_asset_version_info(context.asset_key)
    except _UNKNOWN:
        return None
    return None if found is None else int(found.storage_id)


def find_upstream_run(context: dg.InputContext) -> str | None:
    """The run in which Dagster says this input was made: the one that reads it, or one that it repeats; None for what was made before."""
    try:
        return None if context.upstream_output is None else context.upstream_output.run_id
    except _UNKNOWN:
        return None


def find_instance(context: dg.InputContext) -> dg.DagsterInstance | None:
    """The instance that knows the asset's events; None where an asset is loaded without one."""
    try:
        return context.instance
    except _UNKNOWN:
        return None


def find_step_key(context: dg.InputContext) -> str | None:
    """The step that reads an input; None outside of a run."""
    try:
        return str(context.step_context.step.key)
    except _UNKNOWN:
        return None


def find_asset_layer(context: dg.InputContext) -> Any:
    """What the run that reads an input knows of its assets; None outside of one."""
    try:
        return context.step_context.job_def.asset_layer
    except _UNKNOWN:
        return None


def record_input(context: dg.InputContext, version: str, event: dg.EventLogRecord | None, *, partitioned: bool) -> None:
    """Makes Dagster record that this input was read as `version`, in place of the newest one that it takes for granted (dagster#21436).

    Args:
        event: the materialization of that version, if there is one.
        partitioned: the input is one partition of its asset: then what Dagster compares is a hash of the version.
    """
    if partitioned:
        version = hashlib.sha256(version.encode()).hexdigest()
    with contextlib.suppress(*_UNKNOWN):
        # The dictionary from which Dagster makes the tags of what the step materializes.
        context.step_context.input_asset_records[context.asset_key] = InputAssetVersionInfo(  # type: ignore[index]
            storage_id=0 if event is None else event.storage_id,
            event_type=dg.DagsterEventType.ASSET_MATERIALIZATION,
            data_version=dg.DataVersion(version),
            run_id="" if event is None else event.event_log_entry.run_id,
            timestamp=0.0 if event is None else event.event_log_entry.timestamp,
        )


def selected_assets(job: dg.JobDefinition) -> Collection[dg.AssetKey]:
    """What a job materializes."""
    return job.asset_layer.selected_asset_keys
