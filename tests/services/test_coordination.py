"""A home whose processes agree through etcd."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from pachyderm_dagster.coordination import etcd_messages as m
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import parse_etcd_url
from pachyderm_dagster.coordination.leases import LEASE_TIME
from pachyderm_dagster.metadata import tables as t
from pachyderm_dagster.record import open_record
from tests.cli.pachctl import Pachctl, process
from tests.etcds import EtcdServer, free_port, needs_etcd

pytestmark = needs_etcd


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EtcdServer]:
    """The etcd of the home."""
    with EtcdServer(tmp_path) as server:
        monkeypatch.setenv("PACHYDERM_COORDINATION_URL", f"{server.url}/lab")
        yield server


def lease_keys(server: EtcdServer) -> list[str]:
    found = Etcd(parse_etcd_url(server.url, {})).call("kv/range", m.range_of("lab/", m.behind("lab/")))
    return [one.key.partition("/lease/")[2] for one in m.key_values(found) if "/lease/" in one.key]


def create_pipeline(pachctl: Pachctl, folder: Path, *code: str) -> None:
    spec = {"pipeline": {"name": "count"}, "input": {"pfs": {"repo": "books", "glob": "/*"}}, "transform": {"cmd": ["sh"], "stdin": list(code)}}
    (folder / "count.json").write_text(json.dumps(spec))
    pachctl("create", "repo", "books")
    pachctl("create", "pipeline", "-f", str(folder / "count.json"))


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)  # noqa: TID251  another process's work


def test_jobs_run_under_leases_of_etcd_and_leave_none(server: EtcdServer, pachctl: Pachctl, tmp_path: Path) -> None:
    create_pipeline(pachctl, tmp_path, "wc -w < /pfs/books/hamlet > /pfs/out/hamlet")
    pachctl.put("books@master:/hamlet", "to be or not to be")
    pachctl("wait", "commit", "count@master")
    assert pachctl("get", "file", "count@master:/hamlet").out.split() == ["6"]
    assert lease_keys(server) == []
    record = open_record(os.environ)
    with closing(record.database), record.database.read() as txn:
        assert txn.all(sa.select(t.lease)) == []


def test_job_goes_on_when_etcd_crashes_and_comes_back(server: EtcdServer, pachctl: Pachctl, tmp_path: Path) -> None:
    begun, go = tmp_path / "begun", tmp_path / "go"
    create_pipeline(pachctl, tmp_path, f"echo run >> {begun}", f"while [ ! -e {go} ]; do sleep 0.1; done", "echo done > /pfs/out/done")
    pachctl.put("books@master:/hamlet", "to be or not to be")
    with process("wait", "commit", "count@master") as waiting:
        wait_until(begun.exists)
        (job,) = [key for key in lease_keys(server) if key.startswith("job/")]
        server.kill()
        server.start()
        assert job in lease_keys(server)
        go.touch()
        _, said = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, said
    assert begun.read_text() == "run\n"
    assert pachctl("get", "file", "count@master:/done").out == "done\n"


def test_homes_share_an_etcd_and_see_nothing_of_each_other(server: EtcdServer, tmp_path: Path) -> None:
    homes = [open_record({"PACHYDERM_HOME": str(tmp_path / name), "PACHYDERM_COORDINATION_URL": server.url}) for name in ("a", "b")]
    assert [home.leases.acquire("job/1", home.settings.home.name, LEASE_TIME) for home in homes] == [True, True]
    assert [home.leases.find_owner("job/1") for home in homes] == ["a", "b"]
    for home in homes:
        home.database.close()


def test_etcd_that_is_away_is_told_by_what_needs_it_and_shown_by_config(pachctl: Pachctl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PACHYDERM_COORDINATION_URL", f"etcd://ana:geheim@127.0.0.1:{free_port()}?timeout=0.1")
    pachctl("create", "repo", "books")
    assert pachctl.fail("extract", "-o", str(tmp_path / "extract")) == "coordination-unreachable"
    shown = pachctl("config").out
    assert "etcd://ana:***@127.0.0.1" in shown and "geheim" not in shown
    monkeypatch.setenv("PACHYDERM_COORDINATION_URL", "etcd://127.0.0.1?colour=red")
    assert pachctl.fail("config") == "config-invalid"
    assert pachctl.fail("list", "repo") == "config-invalid"
    pachctl("version")
