import os
from pathlib import Path

from tests.cli.pachctl import Pachctl

SECRET = b"""
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {user: me, password: hunter2}
"""
PIPELINE = b"""
pipeline: {name: p}
input: {pfs: {repo: data, glob: /*}}
transform: {cmd: ['true'], secrets: [{name: db, key: %s, env_var: PASSWORD}]}
"""


def test_secret_is_made_shown_and_removed_and_its_values_are_not_shown(pachctl: Pachctl) -> None:
    assert pachctl("create", "secret", stdin=SECRET).out == ""
    shown = [pachctl(*command).out for command in (("list", "secret"), ("inspect", "secret", "db"), ("inspect", "secret", "db", "-o", "json"))]
    assert pachctl("inspect", "secret", "db", "-o", "json").document["keys"] == ["password", "user"]
    assert "Keys: password, user" in " ".join(shown[1].split())
    assert not any("hunter2" in text for text in shown)
    assert pachctl.fail("create", "secret", stdin=SECRET) == "secret-exists"
    pachctl("delete", "secret", "db")
    assert pachctl.json("list", "secret") == []
    assert pachctl.fail("inspect", "secret", "db") == "secret-not-found"


def test_secret_in_a_file(pachctl: Pachctl, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_bytes(SECRET)
    pachctl("create", "secret", "-f", str(tmp_path / "secret.yaml"))
    assert [secret["name"] for secret in pachctl.json("list", "secret")] == ["db"]
    assert pachctl.fail("create", "secret", "-f", str(tmp_path / "missing")) == "source-not-found"


def test_pipeline_without_its_secret_is_refused_however_it_is_made(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    assert pachctl.fail("create", "pipeline", stdin=PIPELINE % b"password") == "secret-not-found"
    assert pachctl.fail("create", "pipeline", "--dry-run", stdin=PIPELINE % b"password") == "secret-not-found"
    pachctl("create", "secret", stdin=SECRET)
    pachctl("start", "transaction")
    assert pachctl.fail("create", "pipeline", stdin=PIPELINE % b"pasword") == "secret-key-not-found"
    pachctl("create", "pipeline", stdin=PIPELINE % b"password")
    pachctl("finish", "transaction")
    assert [pipeline["name"] for pipeline in pachctl.json("list", "pipeline")] == ["p"]


def test_names_of_secrets_are_completed(pachctl: Pachctl) -> None:
    pachctl("create", "repo", "data")
    pachctl("create", "secret", stdin=SECRET)
    os.environ["_PACHCTL_COMPLETE"] = "pachctl delete secret "
    try:
        assert pachctl().out == "db\t\n"
    finally:
        del os.environ["_PACHCTL_COMPLETE"]
