"""Pipeline files: where their text comes from, and what a user should know about what they say."""

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import click

from pachyderm_dagster.errors import InvalidError, NotFoundError, StorageError, UnreachableError
from pachyderm_dagster.pps.spec import PipelineSpec, Transform, kubernetes_only_fields
from pachyderm_dagster.pps.spec_reading import parse_specs
from pachyderm_dagster.settings import load_settings

TIMEOUT_SECONDS = 30
STANDARD_INPUT = "-"


def read_specs(source: str) -> list[PipelineSpec]:
    """The specs in a file, at a URL or (`-`) on standard input. Fields that do nothing here are told on standard error.

    Raises:
        NotFoundError: `spec-not-found`.
        UnreachableError: `url-unreachable`.
        StorageError: `spec-unreadable`.
        InvalidError: `spec-invalid`, `spec-unsupported`.
    """
    notes: list[str] = []
    data, name = _read(source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidError("spec-invalid", f"{name}: byte {error.start} is not UTF-8; a pipeline file is JSON or YAML in UTF-8") from error
    specs = parse_specs(text, source=name, notes=notes)
    if not specs:
        raise InvalidError("spec-invalid", f"{name}: there is no pipeline in it; see `pachctl list pipeline --spec` for the form")
    for note in notes:
        click.echo(f"note: {note}", err=True)
    return specs


def tell_unused(specs: list[PipelineSpec], environ: Mapping[str, str]) -> None:
    """Says on standard error what a local run makes no use of."""
    if load_settings(environ).executor != "local":
        return
    for spec in specs:
        unused = list(kubernetes_only_fields(spec))
        if spec.transform.image != Transform().image:
            unused.insert(0, "transform.image")
        if unused:
            click.echo(f"note: pipeline '{spec.pipeline.name}' runs on this machine, without {', '.join(unused)}", err=True)


def _read(source: str) -> tuple[bytes, str]:
    if source == STANDARD_INPUT:
        return sys.stdin.buffer.read(), "standard input"
    if source.startswith(("http://", "https://")):
        return _fetch(source), source
    try:
        return Path(source).read_bytes(), source
    except FileNotFoundError as error:
        raise NotFoundError("spec-not-found", f"pipeline file '{source}' does not exist; name a file, a URL, or - for standard input") from error
    except OSError as error:
        raise StorageError("spec-unreadable", f"pipeline file '{source}' cannot be read: {error.strerror}") from error


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
            data = response.read()
    except urllib.error.HTTPError as error:
        raise NotFoundError("spec-not-found", f"{url} answered {error.code} {error.reason}; check the address") from error
    except OSError as error:
        raise UnreachableError("url-unreachable", f"{url} does not answer: {getattr(error, 'reason', error)}; try again") from error
    assert isinstance(data, bytes)
    return data
