"""Secrets in a home: who may read them, what is refused, and how they are written for Kubernetes."""

import datetime as dt
import os
import stat
from pathlib import Path

import pytest

from pachyderm_dagster.errors import ExistsError, InvalidError, NotFoundError, StorageError
from pachyderm_dagster.pps.secret_files import parse_secrets
from pachyderm_dagster.pps.secret_store import Secret, SecretStore
from pachyderm_dagster.pps.spec import SecretUse
from pachyderm_dagster.pps.spec_reading import parse_specs

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PIPELINE = "pipeline: {name: p}\ninput: {pfs: {repo: data, glob: /*}}\ntransform: {cmd: ['true'], secrets: [%s]}"


def secret(name: str = "db", **values: bytes) -> Secret:
    return Secret(name=name, created=NOW, data=values or {"password": b"hunter2"})


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path)


def test_secret_is_for_its_owner_alone(store: SecretStore, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        store.create(secret())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()] == [0o600]
    assert store.get("db").data == {"password": b"hunter2"}


def test_secret_does_not_show_its_values() -> None:
    assert repr(secret()) == "Secret('db', keys=['password'])"


def test_second_secret_of_a_name_is_refused_and_changes_nothing(store: SecretStore, tmp_path: Path) -> None:
    store.create(secret())
    with pytest.raises(ExistsError, match="secret 'db' exists already"):
        store.create(secret(password=b"other"))
    assert store.get("db").data == {"password": b"hunter2"}
    assert len(list((tmp_path / "secrets").iterdir())) == 1


def test_missing_secret_is_told_with_those_there_are(store: SecretStore) -> None:
    with pytest.raises(NotFoundError, match="secret 'db' does not exist; there are none"):
        store.get("db")
    store.create(secret("a"))
    store.create(secret("b"))
    for name in ("db", "../a", ""):
        with pytest.raises(NotFoundError, match="does not exist; secrets: 'a', 'b'"):
            store.get(name)
    assert [found.name for found in store.list_secret()] == ["a", "b"]


def test_deleted_secret_is_gone(store: SecretStore) -> None:
    store.create(secret())
    store.delete("db")
    assert store.names() == []
    with pytest.raises(NotFoundError):
        store.delete("db")


@pytest.mark.parametrize("wrong", [secret("Up"), secret("a/b"), secret("-a"), secret(""), Secret(name="a", created=NOW, data={"a/b": b""})])
def test_name_or_key_that_kubernetes_does_not_take_is_refused(store: SecretStore, wrong: Secret) -> None:
    with pytest.raises(InvalidError, match="secret-invalid"):
        store.create(wrong)


def test_damaged_secret_is_told_without_its_content(store: SecretStore, tmp_path: Path) -> None:
    store.create(secret())
    (tmp_path / "secrets" / "db.json").write_bytes(b'{"name":"db","data":{"password":"aHVudGVyMg==!"}')
    with pytest.raises(StorageError, match="damaged") as caught:
        store.get("db")
    assert "aHVu" not in str(caught.value)


def test_variables_and_files_of_a_pipeline(store: SecretStore) -> None:
    store.create(secret(password=b"hunter2", user=b"me"))
    uses = [SecretUse(name="db", key="password", env_var="PASSWORD"), SecretUse(name="db", mount_path="/secrets/db")]
    assert store.variables(uses) == {"PASSWORD": "hunter2"}
    assert store.files(uses) == {"/secrets/db": {"password": b"hunter2", "user": b"me"}}


def test_variable_that_is_no_text_is_refused(store: SecretStore) -> None:
    store.create(secret(key=b"\xff"))
    with pytest.raises(InvalidError, match="is no text"):
        store.variables([SecretUse(name="db", key="key", env_var="KEY")])


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("{name: other, mount_path: /s}", "secret 'other' does not exist; secrets: 'db'"),
        ("{name: db, key: pasword, env_var: P}", "secret 'db' has no key 'pasword'; its keys: 'password'"),
    ],
)
def test_pipeline_that_names_what_is_not_there_is_refused(store: SecretStore, use: str, message: str) -> None:
    store.create(secret())
    [spec] = parse_specs(PIPELINE % use, source="test")
    with pytest.raises(NotFoundError, match=message):
        store.check_uses(spec)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("{name: db}", "transform.secrets[0]: needs a 'mount_path'"),
        ("{name: db, env_var: P}", "transform.secrets[0].key: required with 'env_var'"),
        ("{name: db, mount_path: secrets}", "transform.secrets[0].mount_path: 'secrets' cannot hold a secret"),
        ("{name: db, mount_path: /pfs/data}", "transform.secrets[0].mount_path: '/pfs/data' cannot hold a secret"),
        ("{name: db, mount_path: /}", "transform.secrets[0].mount_path: '/' cannot hold a secret"),
        ("{name: db, mount_path: /a/../b}", "transform.secrets[0].mount_path"),
        ("{name: a, mount_path: /s}, {name: b, mount_path: /s/}", "transform.secrets[1]: '/s' is given to a secret before"),
        ("{mount_path: /s}", "transform.secrets[0].name: required"),
    ],
)
def test_use_of_a_secret_that_makes_no_sense_is_refused(use: str, message: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_specs(PIPELINE % use, source="test")
    assert message in str(caught.value)


def test_kubernetes_form_is_read() -> None:
    text = """
apiVersion: v1
kind: Secret
metadata: {name: db, labels: {app: x}}
type: kubernetes.io/basic-auth
data: {password: "aHVudGVyMg==", user: eW91}
stringData: {user: me}
---
metadata: {name: empty}
"""
    first, second = parse_secrets(text, source="test", now=NOW)
    assert (first.name, first.type, first.data) == ("db", "kubernetes.io/basic-auth", {"password": b"hunter2", "user": b"me"})
    assert (second.name, second.type, second.data) == ("empty", "Opaque", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: ConfigMap\nmetadata: {name: a}", "it is no secret"),
        ("metadata: {}", "metadata.name is missing"),
        ("metadata: {name: a}\ndata: {k: top secret}", "data.k is not base64"),
        ("metadata: {name: a}\nstringData: {k: 7}", "stringData.k is no text"),
        ("metadata: {name: a}\ndate: {k: top secret}", "'date' is no field of a secret"),
        ("metadata: {name: a}\nstringData: {k: top secret: more}", "no JSON or YAML"),
        ("top secret", "a secret is an object"),
    ],
)
def test_wrong_form_is_told_without_values(text: str, message: str) -> None:
    with pytest.raises(InvalidError, match="secret-invalid") as caught:
        parse_secrets(text, source="test", now=NOW)
    assert message in str(caught.value)
    assert "top secret" not in str(caught.value)
