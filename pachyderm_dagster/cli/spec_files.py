"""Pipeline files: where their text comes from, and what a user should know about what they say."""

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import click

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.executors.limit_groups import limits_problem
from pachyderm_dagster.executors.limits import limits_of
from pachyderm_dagster.executors.missing_here import find_excess, find_missing
from pachyderm_dagster.pfs.http_sources import open_http
from pachyderm_dagster.pfs.local_sources import open_local
from pachyderm_dagster.pps.service_rules import unused_fields
from pachyderm_dagster.pps.spec import PipelineSpec, Transform, UserSpec, kubernetes_only_fields
from pachyderm_dagster.pps.spec_reading import parse_defaults, parse_specs, parse_user_specs
from pachyderm_dagster.settings import KUBERNETES_SPOUT_SECRET, load_settings
from pachyderm_dagster.storage.chunks import Readable

STANDARD_INPUT = "-"
LARGEST = 16 * 1024 * 1024
_REMOTE = ("http://", "https://")
_Read = TypeVar("_Read", covariant=True)


class _Parse(Protocol[_Read]):
    def __call__(self, text: str, *, source: str, notes: list[str]) -> _Read: ...


@dataclass(frozen=True, slots=True)
class SpecText:
    """The text of a pipeline file.

    Attributes:
        source: what messages call it.
        folder: from where paths in it go; None of one that is not on this machine.
        path: of the file, if it is one.
    """

    text: str
    source: str
    folder: str | None = None
    path: str | None = None


def read_text(source: str) -> SpecText:
    """The text of a file, of what is at an http(s) URL or (`-`) on standard input.

    Raises:
        NotFoundError: `source-not-found`.
        UnreachableError: `source-unreachable`.
        InvalidError: `source-unreadable`; `spec-invalid`, when it is none in UTF-8.
    """
    name = "standard input" if source == STANDARD_INPUT else source
    with _open(source) as stream:
        data = _read(stream, name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError("spec-invalid", f"{name}: byte {error.start} is not UTF-8; it is to be JSON or YAML in UTF-8") from error
    if source.startswith(_REMOTE):
        return SpecText(text, name)
    path = None if source == STANDARD_INPUT else os.path.abspath(source)
    return SpecText(text, name, os.getcwd() if path is None else os.path.dirname(path), path)


def complete_specs(found: SpecText) -> list[PipelineSpec]:
    """The specifications in a text, which have to be complete. Fields that do nothing here are told on standard error.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    return _telling(parse_specs, found)


def user_specs(found: SpecText) -> list[UserSpec]:
    """The specifications in a text, as they are before defaults. Fields that do nothing here are told on standard error.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    return _telling(parse_user_specs, found)


def defaults_body(found: SpecText) -> dict[str, Any]:
    """The body of the defaults in a text.

    Raises:
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    return _telling(parse_defaults, found)


def _telling(parse: _Parse[_Read], found: SpecText) -> _Read:
    notes: list[str] = []
    parsed = parse(found.text, source=found.source, notes=notes)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return parsed


def tell_unused(specs: Iterable[PipelineSpec], environ: Mapping[str, str]) -> None:
    """Says on standard error what runs on this machine make no use of, or what pods cannot run."""
    pods = load_settings(environ).kubernetes
    if pods is not None:
        for spec in specs:
            if spec.spout is not None and not pods.spout_secret:
                click.echo(f"note: spout '{spec.pipeline.name}' will not run: {KUBERNETES_SPOUT_SECRET} names no Secret", err=True)
        return
    for spec in specs:
        unused = [*kubernetes_only_fields(spec), *unused_fields(spec)]
        if spec.transform.image != Transform().image:
            unused.insert(0, f"image {spec.transform.image}")
        if unused:
            click.echo(f"note: '{spec.pipeline.name}' runs its command on this machine; not used there: {', '.join(unused)}", err=True)
        unlimited = limits_problem(limits_of(spec))
        if unlimited is not None:
            click.echo(f"note: resource_limits of '{spec.pipeline.name}' are not kept here: {unlimited}", err=True)
        for missing in find_missing(spec):
            click.echo(f"note: jobs of '{spec.pipeline.name}' will fail on this machine: {missing}", err=True)
        excess = find_excess(spec)
        if excess is not None:
            click.echo(f"note: parallelism_spec of '{spec.pipeline.name}': {excess}", err=True)
        if spec.runs_on:
            name = spec.pipeline.name
            click.echo(f"note: {spec.kind} '{name}' runs under `pachyderm-dagster dev`, or `pachctl run service {name}`", err=True)


def _open(source: str) -> AbstractContextManager[Readable]:
    if source == STANDARD_INPUT:
        return nullcontext(sys.stdin.buffer)
    return open_http(source) if source.startswith(_REMOTE) else open_local(source)


def _read(stream: Readable, name: str) -> bytes:
    data = b""
    while piece := stream.read(1 << 20):
        data += piece
        if len(data) > LARGEST:
            raise InvalidError("spec-invalid", f"{name} has more than {LARGEST >> 20} MiB; nothing so large is read here")
    return data
