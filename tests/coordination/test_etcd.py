"""What only etcd can do to a lease: end it by itself, restart, lose members, ask for a password or a certificate."""

import contextlib
import datetime as dt
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.coordination.changes import Watcher
from pachyderm_dagster.coordination.etcd import Etcd
from pachyderm_dagster.coordination.etcd_address import parse_etcd_url
from pachyderm_dagster.coordination.etcd_changes import EtcdChanges, EtcdWatcher
from pachyderm_dagster.coordination.etcd_claims import EtcdClaims
from pachyderm_dagster.coordination.etcd_leases import EtcdLeases
from pachyderm_dagster.coordination.leases import HeldLease
from pachyderm_dagster.errors import StorageError, UnreachableError
from tests.etcds import EtcdServer, free_port, needs_etcd, new_address
from tests.forking import in_child

pytestmark = needs_etcd
SECOND = dt.timedelta(seconds=1)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)  # noqa: TID251  another process's work


def leases_at(url: str) -> EtcdLeases:
    return EtcdLeases(Etcd(parse_etcd_url(url, {})))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    with EtcdServer(tmp_path) as server:
        yield server


def test_lease_that_nobody_renews_ends_by_itself() -> None:
    leases = EtcdLeases(Etcd(new_address()))
    assert leases.acquire("job/1", "a", SECOND)
    assert not leases.acquire("job/1", "b", SECOND)
    began = time.monotonic()
    wait_until(lambda: leases.acquire("job/1", "b", SECOND))
    assert time.monotonic() - began >= 0.5


def test_lease_that_is_held_is_renewed_and_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pachyderm_dagster.coordination.leases.LEASE_TIME", 2 * SECOND)
    leases = EtcdLeases(Etcd(new_address()))
    assert leases.acquire("job/1", "a", 2 * SECOND)
    asked = 0
    with HeldLease(leases, "job/1", "a") as held:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert not leases.acquire("job/1", "b", SECOND)
            asked += 1
        assert not held.is_lost()
    assert asked > 10
    assert leases.acquire("job/1", "b", SECOND)


def test_renewing_adds_no_leases_to_etcd_and_a_refusal_leaves_none(server: EtcdServer) -> None:
    etcd = Etcd(parse_etcd_url(server.url, {}))
    leases = EtcdLeases(etcd)

    def count() -> int:
        return len(etcd.call("lease/leases", {}).get("leases", ()))

    for _ in range(5):
        assert leases.acquire("job/1", "a", 10 * SECOND)
        assert not leases.acquire("job/1", "b", 10 * SECOND)
    assert count() == 1
    assert leases.acquire("job/1", "a", 20 * SECOND)
    assert count() == 1
    leases.release("job/1", "a")
    assert count() == 0


def test_lease_survives_a_crash_of_etcd_and_so_does_who_asks_meanwhile(server: EtcdServer) -> None:
    leases = leases_at(server.url)
    assert leases.acquire("job/1", "a", 60 * SECOND)
    server.kill()
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(leases.acquire("job/1", "b", 60 * SECOND)))
    asking.start()
    server.start()
    asking.join()
    assert answers == [False]
    assert leases.acquire("job/1", "a", 60 * SECOND)


def test_etcd_that_stays_away_is_told_with_where_it_should_be() -> None:
    port = free_port()
    with pytest.raises(UnreachableError, match=f"etcd does not answer at 127.0.0.1:{port}: Connection refused; check PACHYDERM_COORDINATION_URL") as caught:
        leases_at(f"etcd://127.0.0.1:{port}?timeout=0.2").is_held("job/1")
    assert caught.value.code == "coordination-unreachable"


def test_another_endpoint_answers_when_the_first_is_away(server: EtcdServer) -> None:
    leases = leases_at(f"etcd://127.0.0.1:{free_port()},127.0.0.1:{server.port}?timeout=5")
    assert leases.acquire("job/1", "a", 10 * SECOND)
    assert leases.find_owner("job/1") == "a"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """Three members."""
    members = []
    for name in "abc":
        (tmp_path / name).mkdir()
        members.append(EtcdServer(tmp_path / name, name=name))
    with contextlib.ExitStack() as stack:
        for member in members:
            member.cluster = ",".join(one.peer for one in members)
            stack.callback(member.kill)
            member.launch()
        for member in members:
            member.wait()
        yield members


def test_cluster_that_loses_any_one_member_goes_on(cluster: list[EtcdServer]) -> None:
    url = "etcd://" + ",".join(f"127.0.0.1:{member.port}" for member in cluster)
    leases, changes = leases_at(f"{url}?timeout=60"), EtcdChanges(Etcd(parse_etcd_url(url, {})))
    assert leases.acquire("job/1", "a", 60 * SECOND)
    with changes.watch() as watcher:
        for member in cluster:
            # One of them leads, and one has the watch.
            member.kill()
            assert leases.acquire("job/1", "a", 60 * SECOND)
            assert not leases.acquire("job/1", "b", 60 * SECOND)
            wait_until(lambda: announced(changes, watcher))
            member.start()


def announced(changes: EtcdChanges, watcher: Watcher) -> bool:
    """Whether a word comes to a watch that is open; an announcement makes one attempt only, and then none for a while."""
    assert isinstance(watcher, EtcdWatcher)
    changes._silent_until = 0
    watcher.wait(0, 0)
    changes.announce()
    return watcher._is_live and watcher._word.wait(3)


def test_what_answers_and_is_no_etcd_is_told_so(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        ["python3", "-m", "http.server", "--bind", "127.0.0.1", str(port)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        leases = leases_at(f"etcd://127.0.0.1:{port}?timeout=30")
        with pytest.raises(UnreachableError, match="no answer of etcd"):
            leases.is_held("job/1")
    finally:
        process.kill()
        process.wait()


def test_forked_process_has_connections_of_its_own() -> None:
    leases = EtcdLeases(Etcd(new_address()))
    assert leases.acquire("job/1", "a", 10 * SECOND)
    assert in_child(lambda: leases.acquire("job/2", "a", 10 * SECOND)) == "done"
    assert leases.find_owners(["job/1", "job/2"]) == {"job/1": "a", "job/2": "a"}


def etcdctl(server: EtcdServer, *words: str) -> None:
    program = shutil.which("etcdctl")
    assert program is not None
    subprocess.run([program, "--endpoints", f"127.0.0.1:{server.port}", *words], env={"ETCDCTL_API": "3"}, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def guarded(server: EtcdServer) -> EtcdServer:
    """An etcd that asks for passwords; `ana` may use the keys below `lab`."""
    etcdctl(server, "user", "add", "root:secret")
    etcdctl(server, "user", "grant-role", "root", "root")
    etcdctl(server, "role", "add", "lab")
    etcdctl(server, "role", "grant-permission", "lab", "--prefix=true", "readwrite", "lab/")
    etcdctl(server, "user", "add", "ana:geheim@1")
    etcdctl(server, "user", "grant-role", "ana", "lab")
    etcdctl(server, "auth", "enable")
    return server


def test_user_gives_the_password_in_the_url_or_in_the_environment(guarded: EtcdServer) -> None:
    endpoint = guarded.url.removeprefix("etcd://")
    assert leases_at(f"etcd://ana:geheim%401@{endpoint}/lab").acquire("job/1", "a", 60 * SECOND)
    for environ in ({"ETCDCTL_USER": "ana:geheim@1"}, {"ETCDCTL_USER": "ana", "ETCDCTL_PASSWORD": "geheim@1"}):
        assert EtcdLeases(Etcd(parse_etcd_url(f"{guarded.url}/lab", environ))).find_owner("job/1") == "a"


def test_user_with_rights_below_the_prefix_can_do_all_that_is_needed(guarded: EtcdServer) -> None:
    etcd = Etcd(parse_etcd_url(f"etcd://ana:geheim%401@127.0.0.1:{guarded.port}/lab", {}))
    leases, changes, claims = EtcdLeases(etcd), EtcdChanges(etcd), EtcdClaims(etcd, "job")
    assert leases.acquire("job/1", "a", 60 * SECOND)
    assert leases.acquire("job/1", "a", 90 * SECOND)
    assert not leases.acquire("job/1", "b", 60 * SECOND)
    leases.release("job/1", "a")
    assert not leases.is_held("job/1")
    with changes.watch() as watcher:
        for _ in range(2):
            began = time.monotonic()
            watcher.wait(60, 60)
            assert time.monotonic() - began < 30
            changes.announce()
    claims.offer(range(2))
    with claims.worker("a") as worker:
        claim, other = worker.claim(), worker.claim()
        assert claim is not None and other is not None
        assert worker.finish(claim, "r")
        worker.give_back(other)
    assert [one.result for one in claims.results()[0]] == ["r"]
    claims.remove()


@pytest.mark.parametrize(
    ("user", "prefix", "reason"),
    [("ana:wrong@", "lab", "authentication failed"), ("", "lab", "user name is empty"), ("ana:geheim%401@", "elsewhere", "permission denied")],
)
def test_etcd_that_denies_access_is_told_without_the_password(guarded: EtcdServer, user: str, prefix: str, reason: str) -> None:
    leases = leases_at(f"etcd://{user}127.0.0.1:{guarded.port}/{prefix}")
    with pytest.raises(StorageError, match=reason) as caught:
        leases.is_held("job/1")
    assert caught.value.code == "coordination-denied"
    assert "geheim" not in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_token_that_etcd_forgot_in_a_restart_is_asked_for_anew(guarded: EtcdServer) -> None:
    leases = leases_at(f"etcd://ana:geheim%401@127.0.0.1:{guarded.port}/lab")
    assert leases.acquire("job/1", "a", 60 * SECOND)
    guarded.kill()
    guarded.start()
    assert leases.find_owner("job/1") == "a"
    # Leases are kept alive in a stream, whose errors come another way.
    lease = Etcd(parse_etcd_url(f"etcd://ana:geheim%401@127.0.0.1:{guarded.port}/lab", {})).grant(60)
    guarded.kill()
    guarded.start()
    etcd = leases._etcd
    assert etcd.keep_alive(lease) == 60
    # A token is told of an older state of users and roles, too.
    etcdctl(guarded, "--user", "root:secret", "role", "add", "another")
    assert leases.find_owner("job/1") == "a"


def make_certificates(folder: Path) -> None:
    """A certificate authority, a certificate of 127.0.0.1 and one of a client."""
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    subprocess.run([*openssl, "-subj", "/CN=tests", "-keyout", "ca.key", "-out", "ca.pem"], cwd=folder, check=True, capture_output=True)
    for name in ("server", "client"):
        signed = [
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-subj",
            f"/CN={name}",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        ]
        usage = ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run([*openssl, *signed, *usage], cwd=folder, check=True, capture_output=True)


def test_certificates_are_checked_on_both_sides(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    options = ["--cert-file", "server.pem", "--key-file", "server.key", "--trusted-ca-file", "ca.pem", "--client-cert-auth"]
    words = [str(tmp_path / word) if word.endswith((".pem", ".key")) else word for word in options]
    with EtcdServer(tmp_path, *words, scheme="https") as server:
        files = {name: f"{tmp_path}/{file}" for name, file in {"cacert": "ca.pem", "cert": "client.pem", "key": "client.key"}.items()}
        query = "&".join(f"{name}={file}" for name, file in files.items())
        assert leases_at(f"{server.url}?{query}").acquire("job/1", "a", 60 * SECOND)
        environ = {f"ETCDCTL_{name.upper()}": file for name, file in files.items()}
        assert EtcdLeases(Etcd(parse_etcd_url(server.url, environ))).find_owner("job/1") == "a"
        for wrong in (f"{server.url}?tls=true&timeout=30", f"{server.url}?cacert={files['cacert']}&timeout=1"):
            with pytest.raises(UnreachableError, match="coordination-unreachable"):
                leases_at(wrong).is_held("job/1")
