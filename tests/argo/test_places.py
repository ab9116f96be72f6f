"""Artifacts that are elsewhere."""

import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import obstore
import obstore.store
import pytest

from pachyderm_dagster.argo.artifact_places import Places
from pachyderm_dagster.argo.nodes import Phase
from pachyderm_dagster.argo.parameters import GitArtifact, HttpArtifact, HttpArtifactHeader, KeyArtifact, KeyRef, Location
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError
from tests.argo.test_pods import Home

PLACES = Places(network=True)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Gives files, to who has the header, without a log."""

    def do_GET(self) -> None:
        if self.headers["X-Token"] == "no":
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "f").write_text("served\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Handler(*given, directory=str(tmp_path / "www"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


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


@pytest.mark.parametrize("place", [GitArtifact(repo="/nowhere"), GitArtifact(repo="CODE", revision="gone"), GitArtifact(repo="--upload-pack=touch x")])
def test_what_git_does_not_give_is_told(repository: Path, tmp_path: Path, place: GitArtifact) -> None:
    ready = GitArtifact(repo=place.repo.replace("CODE", str(repository)), revision=place.revision)
    with pytest.raises((ExecutionError, InvalidError), match="artifact-not-fetched|url-invalid"):
        PLACES.fetch(Location(git=ready), tmp_path / "out", {})


SECRETS = {"s": {"id": "me", "key": "hidden"}}
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
    PLACES.store(PLACE, tmp_path / "in", SECRETS)
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
    PLACES.store(place, tmp_path / "in", {})
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
    outputs: {{artifacts: [{{name: o, path: /o, s3: {{bucket: b, key: made/o.tgz}}}}]}}
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
    assert [one["path"] for page in obstore.list(bucket[0]) for one in page] == ["made/o.tgz"]
