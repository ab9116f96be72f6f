"""The commands for what a home keeps as a cluster would: templates of workflows, and CronWorkflows."""

import datetime as dt
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any

import click
import msgspec

from pachyderm_dagster.argo.checking import check_object
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.kept_objects import KeptObject, KeptObjects, ObjectName, name_of, read_all
from pachyderm_dagster.argo.library import library_of
from pachyderm_dagster.argo.reading import read_object
from pachyderm_dagster.argo.workflows import CronSpec, CronWorkflow, Read, WorkflowTemplate
from pachyderm_dagster.cli.printing import Column, Printer, listed, optional, printing, text, time
from pachyderm_dagster.cli.spec_files import read_text
from pachyderm_dagster.clock import SystemClock
from pachyderm_dagster.errors import ExistsError
from pachyderm_dagster.schedules import next_tick
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.syncing.differences import object_name
from pachyderm_dagster.syncing.kept_syncs import KeptSyncs

TEMPLATE, CLUSTER_TEMPLATE, CRON = "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"
_TEMPLATE_COLUMNS = (Column("NAME", text("name")), Column("ENTRYPOINT", optional("entrypoint")), Column("TEMPLATES", listed("templates")))
_CRON_COLUMNS = (
    Column("NAME", text("name")),
    Column("SCHEDULE", listed("schedules")),
    Column("TIMEZONE", text("timezone")),
    Column("SUSPENDED", text("suspended")),
    Column("NEXT", time("next")),
)
_COLUMNS = {TEMPLATE: _TEMPLATE_COLUMNS, CLUSTER_TEMPLATE: _TEMPLATE_COLUMNS, CRON: _CRON_COLUMNS}
Fields = dict[str, Any]


def _kept(environ: Mapping[str, str]) -> KeptObjects:
    return KeptObjects(load_settings(environ).home)


# --- what is shown


def _document(kept: KeptObject, now: dt.datetime) -> Fields:
    common = {"kind": kept.name.kind, "name": kept.name.name}
    match kept.read().object:
        case CronWorkflow(spec=spec):
            schedules = list(spec.schedules or [spec.schedule])
            zone = spec.timezone or "UTC"
            return {**common, "schedules": schedules, "timezone": zone, "suspended": spec.suspend, "next": _next(spec, schedules, zone, now)}
        case WorkflowTemplate(spec=spec):
            return {**common, "entrypoint": spec.entrypoint or None, "templates": [one.name for one in spec.templates]}
        case _:
            return common


def _next(spec: CronSpec, schedules: list[str], zone: str, now: dt.datetime) -> dt.datetime | None:
    if spec.suspend:
        return None
    # Schedules are reckoned in the time that clocks of their zone show.
    here = zoneinfo.ZoneInfo(zone)
    shown = now.astimezone(here).replace(tzinfo=dt.UTC)
    found = [tick for schedule in schedules if (tick := next_tick(schedule, shown)) is not None]
    return min(found).replace(tzinfo=here).astimezone(dt.UTC) if found else None


def _lister(kind: str, about: str) -> click.Command:
    def run(environ: Mapping[str, str], printer: Printer) -> None:
        now = SystemClock().now()
        printer.many([_document(one, now) for one in _kept(environ).list() if one.name.kind == kind], _COLUMNS[kind])

    return _command(run, about, f"pachctl argo {_WORDS[kind]} list", printing)


def _getter(kind: str, about: str) -> click.Command:
    def run(environ: Mapping[str, str], name: str, printer: Printer) -> None:
        found = _kept(environ).get(ObjectName(kind, name))
        document = _document(found, SystemClock().now())
        printer.one({**document, "document": found.document}, [*(Column(one.title.capitalize(), one.cell) for one in _COLUMNS[kind])])

    return _command(run, about, f"pachctl argo {_WORDS[kind]} get train", _NAME, printing)


# --- what is changed


def _maker(kind: str, about: str, *, update: bool) -> click.Command:
    def run(environ: Mapping[str, str], files: tuple[str, ...]) -> None:
        kept = _kept(environ)
        given, notes = _read(files, kind)
        for note in notes:
            click.echo(f"note: {note}", err=True)
        there = {one.name: one for one in kept.list()}
        for name in given:
            if name in there and not update:
                raise ExistsError("kept-object-exists", f"the home keeps a {name} already; `pachctl argo {_WORDS[kind]} update` replaces it")
            if update:
                kept.get(name)
        library = library_of([*read_all(one for one in there.values() if one.name not in given), *(read for _, read in given.values())])
        for _, read in given.values():
            check_object(read, library)
        for name, (one, _) in given.items():
            kept.put(one)
            click.echo(f"{'updated' if update else 'created'} {name}")
            _tell_syncs(environ, name)

    return _command(run, about, f"pachctl argo {_WORDS[kind]} {'update' if update else 'create'} {_WORDS[kind]}.yaml", _FILES)


def _read(files: tuple[str, ...], kind: str) -> tuple[dict[ObjectName, tuple[KeptObject, Read]], list[str]]:
    found: dict[ObjectName, tuple[KeptObject, Read]] = {}
    notes: list[str] = []
    for source in files:
        given = read_text(source)
        for document, place in read_documents(given.text, given.source):
            read = read_object(document, place, notes)
            if read.kind != kind:
                raise place.field("kind").invalid(f"expected {kind!r}, found {read.kind!r}; give the others to the commands that are theirs")
            name = name_of(read)
            if name in found:
                raise place.field("metadata").field("name").invalid(f"{name} is given twice; remove one")
            found[name] = KeptObject(name=name, document=document, source=given.source), read
    return found, notes


def _remover(kind: str, about: str) -> click.Command:
    def run(environ: Mapping[str, str], names: tuple[str, ...], all_of_them: bool) -> None:
        if not (names or all_of_them):
            raise click.UsageError("nothing says which; name some, or give --all")
        kept = _kept(environ)
        chosen = [kept.get(ObjectName(kind, name)).name for name in dict.fromkeys(names)]
        chosen += [one.name for one in kept.list() if all_of_them and one.name.kind == kind]
        for name in dict.fromkeys(chosen):
            kept.delete(name)
            click.echo(f"deleted {name}")
            _tell_syncs(environ, name)

    everything = click.option("--all", "all_of_them", is_flag=True, help="All that the home keeps.")
    return _command(run, about, f"pachctl argo {_WORDS[kind]} delete train", click.argument("names", nargs=-1, metavar="[NAME...]"), everything)


def _switch(about: str, *, suspend: bool) -> click.Command:
    def run(environ: Mapping[str, str], names: tuple[str, ...]) -> None:
        kept = _kept(environ)
        for found in [kept.get(ObjectName(CRON, name)) for name in dict.fromkeys(names)]:
            spec = {**found.document["spec"], "suspend": suspend}
            kept.put(msgspec.structs.replace(found, document={**found.document, "spec": spec}))
            click.echo(f"{'suspended' if suspend else 'resumed'} {found.name}")
            _tell_syncs(environ, found.name)

    words = "suspend" if suspend else "resume"
    return _command(run, about, f"pachctl argo cron {words} nightly", click.argument("names", nargs=-1, required=True, metavar="NAME..."))


def _tell_syncs(environ: Mapping[str, str], name: ObjectName) -> None:
    for sync in KeptSyncs(load_settings(environ).home).list():
        if any(object_name(thing) == name for thing in sync.things):
            click.echo(f"note: the sync {sync.name!r} declares {name}, and makes it so again; change it in {sync.source}", err=True)


# --- the commands

_WORDS = {TEMPLATE: "template", CLUSTER_TEMPLATE: "cluster-template", CRON: "cron"}
_NAME = click.argument("name", metavar="NAME")
_FILES = click.argument("files", nargs=-1, required=True, metavar="FILE...")


def _command(run: Callable[..., None], about: str, example: str, *parts: Callable[[Any], Any]) -> click.Command:
    run.__doc__ = about
    made: Any = click.pass_obj(run)
    for part in reversed(parts):
        made = part(made)
    return click.command(epilog=f"Example: {example}")(made)


_KEPT = "Workflows find it by its name, in whatever file they stand."
template_list = _lister(TEMPLATE, "Those that the home keeps: made here, or brought by `sync`.")
template_get = _getter(TEMPLATE, "With `-o json` the whole of it, as it was given.")
template_create = _maker(TEMPLATE, _KEPT, update=False)
template_update = _maker(TEMPLATE, "Runs that were submitted keep the one that they began with.", update=True)
template_delete = _remover(TEMPLATE, "Runs that were submitted keep what they began with.")
cluster_template_list = _lister(CLUSTER_TEMPLATE, "Those that the home keeps: made here, or brought by `sync`.")
cluster_template_get = _getter(CLUSTER_TEMPLATE, "With `-o json` the whole of it, as it was given.")
cluster_template_create = _maker(CLUSTER_TEMPLATE, _KEPT, update=False)
cluster_template_update = _maker(CLUSTER_TEMPLATE, "Runs that were submitted keep the one that they began with.", update=True)
cluster_template_delete = _remover(CLUSTER_TEMPLATE, "Runs that were submitted keep what they began with.")
cron_list = _lister(CRON, "With the time at which each is to start next.")
cron_get = _getter(CRON, "With `-o json` the whole of it, as it was given.")
cron_create = _maker(
    CRON, "Dagster starts it: `argo_definitions()` makes schedules of those that the home keeps. `argo submit --from cronwf/NAME` starts it now.", update=False
)
cron_update = _maker(CRON, "A code location of Dagster sees it when it is loaded again.", update=True)
cron_delete = _remover(CRON, "What it started stays.")
cron_suspend = _switch("It is not started any more, once the code location of Dagster is loaded again.", suspend=True)
cron_resume = _switch("It is started again, once the code location of Dagster is loaded again.", suspend=False)
