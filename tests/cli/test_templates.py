"""Pipeline files from Jsonnet templates."""

import builtins
import importlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from pachyderm_dagster.cli.templates import place_of_import
from pachyderm_dagster.errors import InvalidError
from tests.cli.pachctl import Pachctl, process

COPY = """
local parts = import 'parts.libsonnet';
function(suffix, src="books") parts.copy("copy-" + suffix, src)
"""
PARTS = """
{ copy(name, repo):: {
    pipeline: { name: name }, input: { pfs: { repo: repo, glob: "/*" } }, transform: { cmd: ["sh"], stdin: ["cp /pfs/" + repo + "/* /pfs/out"] } } }
"""


@pytest.fixture
def folder(tmp_path: Path, pachctl: Pachctl) -> Path:
    """Templates, and the repo that they read."""
    (tmp_path / "copy.jsonnet").write_text(COPY)
    (tmp_path / "parts.libsonnet").write_text(PARTS)
    pachctl("create", "repo", "books")
    return tmp_path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(folder: Path) -> Iterator[str]:
    """The folder by HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def names(pachctl: Pachctl) -> list[str]:
    return [document["name"] for document in pachctl.json("list", "pipeline")]


def test_template_makes_a_pipeline_from_its_arguments(folder: Path, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", "--jsonnet", str(folder / "copy.jsonnet"), "--arg", "suffix=a-1")
    document = pachctl("inspect", "pipeline", "copy-a-1", "-o", "json").document
    assert document["transform"]["stdin"] == ["cp /pfs/books/* /pfs/out"]
    assert json.loads(document["user_spec_json"])["pipeline"] == {"name": "copy-a-1"}


def test_template_makes_several_pipelines(folder: Path, pachctl: Pachctl) -> None:
    (folder / "many.jsonnet").write_text("local copy = import 'copy.jsonnet'; function(n) [copy('x' + i) for i in std.range(1, std.parseInt(n))]")
    pachctl("create", "pipeline", "--jsonnet", str(folder / "many.jsonnet"), "--arg", "n=3")
    assert names(pachctl) == ["copy-x1", "copy-x2", "copy-x3"]


def test_template_is_read_from_a_url_and_imports_from_there(site: str, pachctl: Pachctl) -> None:
    pachctl("update", "pipeline", "--jsonnet", f"{site}/copy.jsonnet", "--arg", "suffix=u")
    assert names(pachctl) == ["copy-u"]


def test_template_on_standard_input_may_import_a_url(site: str, pachctl: Pachctl) -> None:
    pachctl("create", "pipeline", "--jsonnet", "-", stdin=f"(import '{site}/parts.libsonnet').copy('of-a-url', 'books')".encode())
    assert names(pachctl) == ["of-a-url"]


def test_template_is_rendered_without_making_anything(folder: Path, pachctl: Pachctl) -> None:
    made = pachctl("validate", "pipeline", "--jsonnet", str(folder / "copy.jsonnet"), "--arg", "suffix=a", "-o", "json").document
    assert made["pipeline"] == {"name": "copy-a"}
    pachctl("create", "pipeline", "--dry-run", "--jsonnet", str(folder / "copy.jsonnet"), "--arg", "suffix=a")
    assert names(pachctl) == []


@pytest.mark.parametrize(
    ("template", "arguments", "says"),
    [
        ("copy.jsonnet", ["suffix"], "NAME=VALUE"),
        ("copy.jsonnet", ["=a"], "NAME=VALUE"),
        ("copy.jsonnet", ["suffix=a", "suffix=b"], "given twice"),
        ("copy.jsonnet", [], "suffix not bound"),
        ("copy.jsonnet", ["suffix=a", "colour=red"], "no parameter colour"),
        ("broken.jsonnet", [], "broken.jsonnet:1:4"),
        ("plain.jsonnet", ["suffix=a"], "no function"),
        ("endless.jsonnet", [], "max stack frames"),
    ],
)
def test_template_that_does_not_evaluate_is_told_with_its_place(folder: Path, pachctl: Pachctl, template: str, arguments: list[str], says: str) -> None:
    (folder / "broken.jsonnet").write_text("{a:")
    (folder / "plain.jsonnet").write_text("{}")
    (folder / "endless.jsonnet").write_text("local f(x) = f(x + 1) + 1; f(1)")
    words = [word for argument in arguments for word in ("--arg", argument)]
    answer = pachctl.run("create", "pipeline", "--jsonnet", str(folder / template), *words)
    assert (answer.status, answer.code) == (1, "template-invalid")
    assert says in answer.err


def test_import_that_is_missing_and_specification_that_is_wrong_are_named(folder: Path, pachctl: Pachctl) -> None:
    (folder / "lost.jsonnet").write_text("import 'nowhere.libsonnet'")
    assert pachctl.fail("create", "pipeline", "--jsonnet", str(folder / "lost.jsonnet")) == "source-not-found"
    (folder / "wrong.jsonnet").write_text("{pipeline: {name: 'a'}, nonsense: 1}")
    answer = pachctl.run("create", "pipeline", "--jsonnet", str(folder / "wrong.jsonnet"))
    assert "wrong.jsonnet makes: nonsense: unknown field" in answer.err


def test_options_that_do_not_belong_together_are_refused(folder: Path, pachctl: Pachctl) -> None:
    assert "--jsonnet" in pachctl.misuse("create", "pipeline", "--arg", "a=b")
    assert "two files" in pachctl.misuse("create", "pipeline", "-f", "a.json", "--jsonnet", "b.jsonnet")


def test_ctrl_c_ends_a_template_that_loops(folder: Path, pachctl: Pachctl) -> None:
    (folder / "loop.jsonnet").write_text("local count(n) = count(n + 1) tailstrict; count(import 'first.libsonnet')")
    os.mkfifo(folder / "first.libsonnet")
    with process("create", "pipeline", "--jsonnet", str(folder / "loop.jsonnet")) as looping:
        # Opened when the template is being evaluated, and by nobody else.
        (folder / "first.libsonnet").write_text("0")
        looping.send_signal(signal.SIGINT)
        assert looping.wait() == -signal.SIGINT


def test_missing_package_is_named(folder: Path, pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> ModuleType:
        if name == "_jsonnet":
            raise builtins.ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    assert pachctl.fail("create", "pipeline", "--jsonnet", str(folder / "copy.jsonnet"), "--arg", "suffix=a") == "extra-missing"


@pytest.mark.parametrize(
    ("folder", "name", "place"),
    [
        ("/a/", "b", "/a/b"),
        ("/a/", "/b", "/b"),
        ("", "b", "b"),
        ("/a/", "http://host/b", "http://host/b"),
        ("http://host/a/", "b", "http://host/a/b"),
        ("http://host/a/", "../b", "http://host/b"),
        ("http://host/a/", "/etc/passwd", "http://host/etc/passwd"),
    ],
)
def test_import_is_beside_the_file_that_names_it(folder: str, name: str, place: str) -> None:
    assert place_of_import(folder, name) == place


def test_template_from_elsewhere_reads_no_file_of_this_machine() -> None:
    with pytest.raises(InvalidError, match="http:// and https:// only"):
        place_of_import("http://host/a/", "file:///etc/passwd")
