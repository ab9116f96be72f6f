"""Artifacts that are elsewhere."""

import base64
import contextlib
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import obstore
import obstore.store
import pytest

from pachyderm_dagster.argo.artifact_places import Places
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.parameters import (
    BasicAuth,
    ClientCertAuth,
    EndpointParam,
    GitArtifact,
    HttpArtifact,
    HttpArtifactHeader,
    HttpAuth,
    KeyArtifact,
    KeyRef,
    Location,
    OAuth2Auth,
)
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError
from tests.argo.test_pods import Home

PLACES = Places(network=True)
SECRETS = {"s": {"id": "me", "key": "hidden"}}
ME_AND_HIDDEN = base64.b64encode(b"me:hidden").decode()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Gives and takes files, and tokens to who has the password, without a log."""

    def do_GET(self) -> None:
        wanted = {"/basic/f": f"Basic {ME_AND_HIDDEN}", "/token/f": "Bearer good"}.get(self.path)
        if self.headers["X-Token"] == "no" or (wanted is not None and self.headers["Authorization"] != wanted):
            self.send_error(403)
        else:
            super().do_GET()

    def do_PUT(self) -> None:
        if self.path.startswith("/full"):
            self.send_error(507)
            return
        Path(self.translate_path(self.path)).write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.end_headers()

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        is_known = self.headers["Authorization"] == f"Basic {ME_AND_HIDDEN}" and form == {
            "grant_type": ["client_credentials"],
            "scope": ["read write"],
            "audience": ["files"],
        }
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(b'{"access_token": "good"}' if is_known else b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A web server for a block; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(folder))) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    for folder in ("", "basic", "token"):
        (tmp_path / "www" / folder).mkdir(exist_ok=True)
        (tmp_path / "www" / folder / "f").write_text("served\n")
    with served(tmp_path / "www") as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path / "code"), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)

    (tmp_path / "code").mkdir()
    git("init", "--initial-branch=main")
    for text in ("one", "two"):
        (tmp_path / "code" / "f").write_text(f"{text}\n")
        git("add", "f")
        git("commit", "-m", text)
        git("tag", text)
    return tmp_path / "code"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket in memory, in place of that of a service."""
    store = obstore.store.MemoryStore()
    given: dict[str, Any] = {}

    def opened(name: str, **settings: Any) -> Any:
        given.update(name=name, **settings)
        return store

    monkeypatch.setattr(obstore.store, "S3Store", opened)
    return store, given


def test_a_file_of_a_web_server_is_fetched(url: str, tmp_path: Path) -> None:
    PLACES.fetch(Location(http=HttpArtifact(url=f"{url}/f")), tmp_path / "out", {})
    assert (tmp_path / "out").read_text() == "served\n"


@pytest.mark.parametrize(
    ("path", "token", "error", "code"),
    [("/gone", "yes", NotFoundError, "artifact-not-found"), ("/f", "no", ExecutionError, "artifact-not-fetched")],
)
def test_what_a_web_server_does_not_give_is_told(url: str, tmp_path: Path, path: str, token: str, error: type[Exception], code: str) -> None:
    place = HttpArtifact(url=url + path, headers=(HttpArtifactHeader(name="X-Token", value=token),))
    with pytest.raises(error, match=code):
        PLACES.fetch(Location(http=place), tmp_path / "out", {})


def test_a_file_that_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"half")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            with pytest.raises(ExecutionError, match="broke off 6 bytes before the end"):
                PLACES.fetch(Location(http=HttpArtifact(url=f"http://127.0.0.1:{server.server_port}/f")), tmp_path / "out", {})
        finally:
            server.shutdown()


ME, HIDDEN = KeyRef(name="s", key="id"), KeyRef(name="s", key="key")


def test_a_web_server_is_told_who_asks(url: str, tmp_path: Path) -> None:
    auth = HttpAuth(basic_auth=BasicAuth(username_secret=ME, password_secret=HIDDEN))
    PLACES.fetch(Location(http=HttpArtifact(url=f"{url}/basic/f", auth=auth)), tmp_path / "out", SECRETS)
    assert (tmp_path / "out").read_text() == "served\n"


def test_a_web_server_is_given_a_token_that_another_one_gave(url: str, tmp_path: Path) -> None:
    token = OAuth2Auth(
        client_id_secret=ME,
        client_secret_secret=HIDDEN,
        token_url_secret=KeyRef(name="t", key="url"),
        scopes=("read", "write"),
        endpoint_params=(EndpointParam(key="audience", value="files"),),
    )
    place = Location(http=HttpArtifact(url=f"{url}/token/f", auth=HttpAuth(oauth2=token)))
    PLACES.fetch(place, tmp_path / "out", {**SECRETS, "t": {"url": f"{url}/token"}})
    assert (tmp_path / "out").read_text() == "served\n"
    with pytest.raises(ExecutionError, match="no token: it answered with the status 401"):
        PLACES.fetch(place, tmp_path / "out", {"s": {"id": "me", "key": "wrong"}, "t": {"url": f"{url}/token"}})


def test_a_web_server_that_wants_a_certificate_gets_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "f").write_text("served\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secrets = {"c": {"crt": certificate.read_text(), "key": key.read_text(), "bad": "x"}}

    def place(url: str, key: str) -> Location:
        auth = ClientCertAuth(client_cert_secret=KeyRef(name="c", key="crt"), client_key_secret=KeyRef(name="c", key=key))
        return Location(http=HttpArtifact(url=f"{url}/f", auth=HttpAuth(client_cert=auth)))

    with served(tmp_path / "www", context) as port:
        PLACES.fetch(place(f"https://127.0.0.1:{port}", "key"), tmp_path / "out", secrets)
        assert (tmp_path / "out").read_text() == "served\n"
        with pytest.raises(InvalidError, match="artifact-invalid"):
            PLACES.fetch(place(f"https://127.0.0.1:{port}", "bad"), tmp_path / "out", secrets)


def _certificate(folder: Path) -> tuple[Path, Path]:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=tests"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "crt.pem"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder / "crt.pem", folder / "key.pem"


def test_a_file_is_put_to_a_web_server(url: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("made\n")
    PLACES.store(Location(http=HttpArtifact(url=f"{url}/new")), tmp_path / "in", {})
    assert (tmp_path / "www" / "new").read_text() == "made\n"
    with pytest.raises(ExecutionError, match="answered with the status 507"):
        PLACES.store(Location(http=HttpArtifact(url=f"{url}/full")), tmp_path / "in", {})
    with pytest.raises(ExecutionError, match="takes a file"):
        PLACES.store(Location(http=HttpArtifact(url=f"{url}/new")), tmp_path / "www", {})


@pytest.mark.parametrize("wrong", ["file:///etc/passwd", "ftp://a/b"])
def test_other_addresses_are_refused(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(InvalidError, match="url-invalid"):
        PLACES.fetch(Location(http=HttpArtifact(url=wrong)), tmp_path / "out", {})


def test_nothing_is_fetched_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="network-not-allowed"):
        Places(network=False).fetch(Location(http=HttpArtifact(url="http://a")), tmp_path / "out", {})


def test_files_of_a_commit_of_git_are_fetched(repository: Path, tmp_path: Path) -> None:
    PLACES.fetch(Location(git=GitArtifact(repo=str(repository))), tmp_path / "head", {})
    PLACES.fetch(Location(git=GitArtifact(repo=str(repository), revision="one")), tmp_path / "old", {})
    assert ((tmp_path / "head" / "f").read_text(), (tmp_path / "old" / "f").read_text()) == ("two\n", "one\n")


def test_what_else_is_fetched_may_hold_the_revision(repository: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "-C", str(repository), "update-ref", "refs/meta/one", "one"], check=True)
    subprocess.run(["git", "-C", str(repository), "tag", "-d", "one"], check=True, capture_output=True)
    place = GitArtifact(repo=repository.as_uri(), single_branch=True, depth=1, fetch=("refs/meta/*:refs/meta/*",), revision="refs/meta/one")
    PLACES.fetch(Location(git=place), tmp_path / "old", {})
    assert (tmp_path / "old" / "f").read_text() == "one\n"


SSH = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/words
for word; do [ "$before" = -i ] && cp "$word" {folder}/key && stat -c %a "$word" > {folder}/mode; before=$word; done
exec sh -c "$before"
"""


@pytest.mark.parametrize("any_host", [False, True])
def test_a_repository_is_reached_by_ssh_with_a_key(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, any_host: bool) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ssh").write_text(SSH.format(folder=tmp_path))
    (tmp_path / "bin" / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    place = GitArtifact(repo=f"git@server:{repository}", ssh_private_key_secret=KeyRef(name="s", key="key"), insecure_ignore_host_key=any_host)
    PLACES.fetch(Location(git=place), tmp_path / "out", {"s": {"key": "-----KEY-----"}})
    assert (tmp_path / "out" / "f").read_text() == "two\n"
    assert ((tmp_path / "key").read_text(), (tmp_path / "mode").read_text()) == ("-----KEY-----\n", "600\n")
    words = (tmp_path / "words").read_text().splitlines()
    assert words[:2] == ["-F", "/dev/null"] and "BatchMode=yes" in words and ("StrictHostKeyChecking=no" in words) is any_host


@pytest.mark.parametrize("place", [GitArtifact(repo="/nowhere"), GitArtifact(repo="CODE", revision="gone"), GitArtifact(repo="--upload-pack=touch x")])
def test_what_git_does_not_give_is_told(repository: Path, tmp_path: Path, place: GitArtifact) -> None:
    ready = GitArtifact(repo=place.repo.replace("CODE", str(repository)), revision=place.revision)
    with pytest.raises((ExecutionError, InvalidError), match="artifact-not-fetched|url-invalid"):
        PLACES.fetch(Location(git=ready), tmp_path / "out", {})


PLACE = KeyArtifact(
    key="data/f",
    bucket="b",
    endpoint="127.0.0.1:9000",
    insecure=True,
    access_key_secret=KeyRef(name="s", key="id"),
    secret_key_secret=KeyRef(name="s", key="key"),
)


def test_objects_are_stored_and_fetched_with_the_keys_of_secrets(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("x")
    PLACES.store(Location(s3=PLACE), tmp_path / "in", SECRETS)
    PLACES.fetch(Location(s3=PLACE), tmp_path / "out", SECRETS)
    assert (tmp_path / "out").read_text() == "x"
    given = bucket[1]
    assert (given["name"], given["endpoint"]) == ("b", "http://127.0.0.1:9000")
    assert (given["access_key_id"], given["secret_access_key"]) == ("me", "hidden")


def test_a_folder_is_what_is_below_its_key(bucket: Any, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    for name in ("f", "sub/g"):
        (tmp_path / "in" / name).write_text(name)
    obstore.put(bucket[0], "data/folder-2/h", b"other")
    place = KeyArtifact(key="data/folder", bucket="b")
    PLACES.store(Location(s3=place), tmp_path / "in", {})
    PLACES.fetch(Location(s3=place), tmp_path / "out", {})
    assert sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")) == ["f", "sub", "sub/g"]


def test_an_object_that_is_not_there_is_told(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="artifact-not-found"):
        PLACES.fetch(Location(s3=KeyArtifact(key="gone", bucket="b")), tmp_path / "out", {})
    with pytest.raises(NotFoundError, match="workflow-secret-not-found"):
        PLACES.fetch(Location(s3=PLACE), tmp_path / "out", {})


def test_pods_get_what_is_elsewhere_and_leave_it_in_buckets(bucket: Any, url: str, repository: Path, tmp_path: Path) -> None:
    text = f"""  templates:
  - name: main
    steps:
    - - {{name: w, template: write}}
    - - name: r
        template: read
        arguments: {{artifacts: [{{name: kept, from: '{{{{steps.w.outputs.artifacts.o}}}}'}}]}}
  - name: write
    container: {{image: busybox, command: [sh, -c], args: ['mkdir /o; echo made > /o/f']}}
    outputs:
      artifacts:
      - {{name: o, path: /o, s3: {{bucket: b, key: made/o.tgz}}}}
      - {{name: w, path: /o/f, http: {{url: '{url}/w'}}, archive: {{none: {{}}}}}}
  - name: read
    inputs:
      artifacts:
      - {{name: kept, path: /kept}}
      - {{name: web, path: /web, mode: 0755, http: {{url: '{url}/f'}}}}
      - {{name: code, path: /code, git: {{repo: '{repository}', revision: one}}}}
      - {{name: none, path: /none, optional: true, http: {{url: '{url}/none'}}}}
    container: {{image: busybox, command: [sh, -c], args: ['cat /kept/f /web /code/f; test -x /web && test ! -e /none && echo done']}}
"""
    home = Home(tmp_path / "home", network=True)
    nodes = home.run(text)
    assert nodes[""].phase is Phase.SUCCEEDED, nodes["[1].r"].message
    assert home.log(nodes["[1].r"].pod) == "made\nserved\none\ndone\n"
    assert (tmp_path / "www" / "w").read_text() == "made\n"
    assert [one["path"] for page in obstore.list(bucket[0]) for one in page] == ["made/o.tgz"]
