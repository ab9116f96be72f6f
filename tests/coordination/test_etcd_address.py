"""URLs of etcd: read, or refused with what is wrong."""

import sys
from pathlib import Path

import pytest

from pachyderm_dagster.coordination.etcd_address import EtcdAddress, parse_etcd_url
from pachyderm_dagster.errors import PachydermError
from pachyderm_dagster.record import open_record


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://host", "names 'redis'"),
        ("etcd://", "has no HOST:PORT as endpoint 1"),
        ("etcd://host:port", "has no HOST:PORT as endpoint 1"),
        ("etcd://a,,b", "has no HOST:PORT as endpoint 2"),
        ("etcd://host?color=red", "has color behind the"),
        ("etcd://host?tls=perhaps", "tls=perhaps"),
        ("etcd://host?timeout=-1", "timeout=-1"),
        ("etcd://host?cacert=/no/such/file", "cacert=/no/such/file, which is no file"),
        ("etcd://ana@host", "the user 'ana' and no password"),
    ],
)
def test_url_that_cannot_be_used_is_refused_with_what_is_taken(url: str, problem: str) -> None:
    with pytest.raises(PachydermError, match=f"{problem}.*it takes database:// or etcd://HOST:PORT") as caught:
        parse_etcd_url(url, {})
    assert caught.value.code == "config-invalid"


def test_url_names_members_prefix_and_user() -> None:
    found = parse_etcd_url("etcd://ana:p%40ss@one,two:4001,[::1]/lab/a?timeout=3", {"ETCDCTL_USER": "other:word"})
    assert found == EtcdAddress(("one:2379", "two:4001", "[::1]:2379"), "lab/a", user="ana", password="p@ss", patience_seconds=3)
    assert "p@ss" not in repr(found) and "p@ss" not in str(found)


def test_password_is_not_told_when_the_url_is_wrong() -> None:
    with pytest.raises(PachydermError) as caught:
        parse_etcd_url("etcd://ana:xyzzy/quux@host", {})
    assert "xyzzy" not in str(caught.value) and "quux" not in str(caught.value)


def test_address_is_passed_on_as_url_and_variables(tmp_path: Path) -> None:
    for name in ("ca.pem", "client.pem", "client key.pem"):
        (tmp_path / name).touch()
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "client.pem", "client key.pem"))
    for address in (
        EtcdAddress(("one:2379", "[::1]:4001"), "lab/a b", user="ana", password="p:@ss", patience_seconds=2.5),
        EtcdAddress(("one:2379",), is_tls=True, cacert=ca, cert=cert, key=key),
        EtcdAddress(("one:2379",), is_tls=True),
    ):
        assert parse_etcd_url(address.url, address.credentials) == address
        assert "ana" not in address.url


def test_missing_client_is_told_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pachyderm_dagster.coordination.open_etcd", None)
    with pytest.raises(PachydermError, match=r"pip install 'pachyderm-dagster\[etcd\]'") as caught:
        open_record({"PACHYDERM_HOME": str(tmp_path), "PACHYDERM_COORDINATION_URL": "etcd://localhost"})
    assert caught.value.code == "extra-missing"
