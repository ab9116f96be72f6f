"""Files of secrets: only user code finds them, wherever they are mounted; the machine stays as it is."""

from pathlib import Path

import pytest

from tests.worker.running import Place, unprivileged, without_namespaces


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_secret_is_mounted_where_nothing_was(place: Place) -> None:
    files = {"/secrets-of-test/db": {"user": b"me", "password": b"hunter2"}, "/etc/secret-of-test": {"key": b"\xff"}}
    ran = place.run_one("sh", "-c", "cd /secrets-of-test/db; ls; cat password; od -An -tx1 /etc/secret-of-test/key; test -e /etc/passwd", secret_files=files)
    assert (ran.state, ran.log) == ("SUCCESS", "password\nuser\nhunter2 ff\n")
    assert not Path("/secrets-of-test").exists()
    assert not Path("/etc/secret-of-test").exists()


def test_secret_hides_what_is_there(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    ran = place.run_one("ls", str(folder), secret_files={str(folder): {"new": b""}})
    assert ran.log == "new\n"
    assert [path.name for path in folder.iterdir()] == ["old"]


def test_secret_cannot_be_changed(place: Place) -> None:
    ran = place.run_one("sh", "-c", "echo x > /s/key; rm /s/key; touch /s/more; cat /s/key", secret_files={"/s": {"key": b"value"}})
    assert ran.log.endswith("value")
    assert ran.log.count("Read-only file system") == 3


def test_mount_path_below_a_file_fails_its_datums(place: Place) -> None:
    ran = place.run_one("true", secret_files={"/etc/passwd/secret": {"key": b"value"}})
    assert (ran.state, ran.tries) == ("FAILED", 0)
    assert ran.reason.startswith("a secret cannot be mounted at /etc/passwd/secret: ")
    assert ran.reason.endswith("[secret-not-mounted]")


def test_user_without_rights_finds_secrets_too(place: Place) -> None:
    command = ("sh", "-c", "cat /etc/secret-of-test/key /s/key")
    files = {"/etc/secret-of-test": {"key": "b25l"}, "/s": {"key": "dHdv"}}
    done = place.run_elsewhere(unprivileged(), *command, secret_files=files)
    assert (done.ran.state, done.ran.log) == ("SUCCESS", "onetwo")


def test_where_nothing_can_be_mounted_datums_fail_and_say_so(place: Place) -> None:
    done = place.run_elsewhere(without_namespaces(), "true", secret_files={"/s": {"key": "dHdv"}})
    assert done.ran.state == "FAILED"
    assert done.ran.reason.startswith("secrets cannot be mounted at /s: /pfs cannot be made here")
    assert "env_var" in done.ran.reason
