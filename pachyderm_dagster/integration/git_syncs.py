"""A folder of a Git repository as what a home is to hold: a sensor that looks at the branch, an asset that tells its commit, and the workflows of it."""

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from pydantic import Field

from pachyderm_dagster.argo.kept_objects import KeptObjects, ObjectName
from pachyderm_dagster.durations import parse_duration
from pachyderm_dagster.integration.argo_building import definitions_of
from pachyderm_dagster.integration.argo_loading import load_kept
from pachyderm_dagster.integration.automation import Environ
from pachyderm_dagster.integration.component_types import component_type
from pachyderm_dagster.integration.translator import identifier
from pachyderm_dagster.pfs.model import DEFAULT_PROJECT
from pachyderm_dagster.settings import HOME, load_settings
from pachyderm_dagster.syncing.kept_syncs import KeptSyncs
from pachyderm_dagster.syncing.source import GitSource, parse_source

EVERY = "60s"


@dataclass(frozen=True, slots=True)
class Syncing:
    """What a tick needs to know.

    Attributes:
        environ: names the home; None for that of the process.
    """

    source: GitSource
    name: str
    project: str
    prune: bool
    key: dg.AssetKey
    environ: Environ | None


def git_sync(
    source: str,
    *,
    name: str | None = None,
    project: str = DEFAULT_PROJECT,
    every: str = EVERY,
    prune: bool = False,
    network: bool = False,
    environ: Environ | None = None,
) -> dg.Definitions:
    """A sensor that makes the home what a folder of a Git repository declares, as `pachyderm-dagster sync` does; an asset that tells which commit that is,
    and how all of it does; and jobs and schedules of the workflows that the home has of it when the code location is loaded.

    ```python
    defs = git_sync("https://git.example.com/team/pipelines.git@main:production")
    ```

    Args:
        source: `REPO_URL@REF:FOLDER`.
        name: of the sync; after the source without it.
        project: of what is declared without one.
        every: how often the branch is looked at.
        prune: what is declared no more is removed: pipelines with their output.
        network: whether pods of its workflows may reach other machines.
        environ: names the home, as the environment variables do; None takes those of the process.

    Raises:
        InvalidError: `sync-source-invalid`, `duration-invalid`.
    """
    found = parse_source(source, base=os.getcwd())
    called = name or found.usual_name
    syncing = Syncing(found, called, project, prune, dg.AssetKey(["sync", called]), None if environ is None else dict(environ))
    spec = dg.AssetSpec(
        syncing.key,
        description=f"The commit of `{found}` that the home is like, and how what it declares does.",
        kinds={"pachyderm", "git"},
        metadata={"source": str(found)},
    )
    return dg.Definitions.merge(dg.Definitions(assets=[spec], sensors=[_sensor(syncing, parse_duration(every))]), _workflows(syncing, network=network))


def _sensor(syncing: Syncing, seconds: float) -> dg.SensorDefinition:
    def tick(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        # What reads the record is imported by the first tick.
        found: dg.SensorResult = importlib.import_module("pachyderm_dagster.integration.git_ticks").tick(syncing, context)
        return found

    return dg.SensorDefinition(
        name=f"sync_{identifier(syncing.name)}",
        evaluation_fn=tick,
        minimum_interval_seconds=max(1, int(seconds)),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Makes the home what `{syncing.source}` declares.",
    )


def _workflows(syncing: Syncing, *, network: bool) -> dg.Definitions:
    """Of the objects of Argo that it has brought into the home."""
    home = Path(load_settings(os.environ if syncing.environ is None else syncing.environ).home)
    kept = KeptSyncs(home).find(syncing.name)
    names = set() if kept is None else {ObjectName(thing.kind, thing.name) for thing in kept.things}
    return definitions_of(load_kept(KeptObjects(home), names), network=network, environ=syncing.environ)


class GitSync(dg.Component, dg.Model, dg.Resolvable):
    """A folder of a Git repository as what a home is to hold: its pipelines, repos and workflows are made as declared there, again and again."""

    source: str = Field(description="REPO_URL@REF:FOLDER.", examples=["https://git.example.com/team/pipelines.git@main:production"])
    name: str | None = Field(default=None, description="What the sync is called; after the repository and the folder without it.")
    project: str = Field(default=DEFAULT_PROJECT, description="The Pachyderm project of what is declared without one.")
    every: str = Field(default=EVERY, description="How often the branch is looked at.", examples=["5m"])
    prune: bool = Field(default=False, description="Whether what is declared no more is removed: pipelines with their output.")
    network: bool = Field(default=False, description="Whether pods of its workflows may reach other machines.")
    home: str | None = Field(default=None, description="The workspace's folder, as PACHYDERM_HOME, which is the default.")

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """How `dg` lists it."""
        return component_type("pachyderm", "asset", "sensor", "job", "schedule")

    def build_defs(self, _context: dg.ComponentLoadContext) -> dg.Definitions:
        """The sensor, the asset, and what the home has of its workflows."""
        return git_sync(
            self.source,
            name=self.name,
            project=self.project,
            every=self.every,
            prune=self.prune,
            network=self.network,
            environ={**os.environ, HOME: self.home} if self.home else None,
        )
