"""Pipeline files: where their text comes from, and what a user should know about what they say."""

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import click

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.http_sources import open_http
from pachyderm_dagster.pfs.local_sources import open_local
from pachyderm_dagster.pps.spec import PipelineSpec, Transform, kubernetes_only_fields
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.settings import load_settings
from pachyderm_dagster.storage.chunks import Readable

STANDARD_INPUT = "-"
LARGEST = 16 * 1024 * 1024


def read_specs(source: str) -> list[PipelineSpec]:
    """The specs in a file, at an http(s) URL or (`-`) on standard input. Fields that do nothing here are told on standard error.

    Raises:
        NotFoundError: `source-not-found`.
        UnreachableError: `source-unreachable`.
        InvalidError: `source-unreadable`, `spec-invalid`, `spec-unsupported`.
    """
    name, text = source_name(source), read_text(source)
    notes: list[str] = []
    specs = parse_specs(text, source=name, notes=notes)
    if not specs:
        raise InvalidError("spec-invalid", f"{name}: there is no pipeline in it; `pachctl list pipeline --spec` shows the form of one")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return specs


def source_name(source: str) -> str:
    """What messages call a source."""
    return "standard input" if source == STANDARD_INPUT else source


def read_text(source: str) -> str:
    """The text in a file, at an http(s) URL or (`-`) on standard input. Errors as `read_specs`."""
    name = source_name(source)
    with _open(source) as stream:
        data = _read(stream, name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError("spec-invalid", f"{name}: byte {error.start} is not UTF-8; it is to be JSON or YAML in UTF-8") from error


def tell_unused(specs: list[PipelineSpec], environ: Mapping[str, str]) -> None:
    """Says on standard error what runs on this machine make no use of."""
    if load_settings(environ).executor != "local":
        return
    for spec in specs:
        unused = list(kubernetes_only_fields(spec))
        if spec.transform.image != Transform().image:
            unused.insert(0, f"image {spec.transform.image}")
        if unused:
            click.echo(f"note: '{spec.pipeline.name}' runs its command on this machine; not used there: {', '.join(unused)}", err=True)


def _open(source: str) -> AbstractContextManager[Readable]:
    if source == STANDARD_INPUT:
        return nullcontext(sys.stdin.buffer)
    return open_http(source) if source.startswith(("http://", "https://")) else open_local(source)


def _read(stream: Readable, name: str) -> bytes:
    data = b""
    while piece := stream.read(1 << 20):
        data += piece
        if len(data) > LARGEST:
            raise InvalidError("spec-invalid", f"{name} has more than {LARGEST >> 20} MiB; nothing so large is read here")
    return data
