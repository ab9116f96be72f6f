"""Settings of buckets: what a URL and the variables say is what the server is asked."""

import base64
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pachyderm_dagster.errors import InvalidError, NotFoundError, PachydermError, StorageError, UnreachableError
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.storage.buckets import connect_bucket
from pachyderm_dagster.storage.obstore_store import ObstoreStore
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.storage_urls import CREDENTIALS_FOLDER
from pachyderm_dagster.workspace import open_workspace
from tests.storage.small_s3 import SmallS3, small_s3

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "some-id", "AWS_SECRET_ACCESS_KEY": "some-secret"}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    with small_s3("bucket") as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.endpoint)
        yield state


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("credentials")
def test_endpoint_region_and_path_style_are_used(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    open_store("s3://bucket/a%20folder/prefix")
    assert server.objects == {"/bucket/a%20folder/prefix/format": b"pachyderm-dagster storage 1\n"}
    assert "some-id" in server.headers("PUT")["Authorization"]
    assert "/eu-west-1/s3/" in server.headers("PUT")["Authorization"]
    assert server.headers("PUT")["If-None-Match"] == "*"


@pytest.mark.usefixtures("credentials")
def test_settings_of_the_url_win_over_variables(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    open_store(f"s3://bucket/prefix?region=us-west-2&endpoint={server.endpoint}")
    assert "/us-west-2/s3/" in server.headers("PUT")["Authorization"]


@pytest.mark.usefixtures("credentials")
def test_virtual_hosted_requests_name_no_bucket_in_the_path(server: SmallS3) -> None:
    server.buckets.add("format")
    open_store("s3://bucket?virtual_hosted_style_request=true")
    assert list(server.objects) == ["/format"]


@pytest.mark.usefixtures("credentials")
def test_objects_are_encrypted_with_the_key_that_is_named(server: SmallS3) -> None:
    open_store("s3://bucket?server_side_encryption=aws:kms&sse_kms_key_id=arn:aws:kms:eu-west-1:1:key/k&sse_bucket_key_enabled=true")
    headers = server.headers("PUT")
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:aws:kms:eu-west-1:1:key/k"
    assert headers["x-amz-server-side-encryption-bucket-key-enabled"] == "true"


@pytest.mark.usefixtures("credentials")
def test_content_is_signed_unless_somebody_says_that_it_is_not(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store("s3://bucket/one")
    assert server.headers("PUT")["x-amz-content-sha256"] == hashlib.sha256(b"pachyderm-dagster storage 1\n").hexdigest()
    open_store("s3://bucket/two?unsigned_payload=true")
    assert server.headers("PUT")["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", "true")
    open_store("s3://bucket/three")
    assert server.headers("PUT")["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


@pytest.mark.usefixtures("credentials")
def test_what_a_server_that_ignores_conditions_has_is_seldom_taken_for_new(monkeypatch: pytest.MonkeyPatch) -> None:
    with small_s3("bucket", conditions=False) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        batch = open_store("s3://bucket").begin_batch()
        there = [f"objects/ab/{number:03}" for number in range(200)]
        for name in there:
            server.objects[f"/bucket/{name}"] = b"there"
        assert all(batch.keep(f"objects/cd/{number}", b"there") for number in range(10))
        # The server's objects are all old, so that those that are found are renewed.
        assert sum(batch.keep(name, b"there") for name in there) < 64


@pytest.mark.usefixtures("credentials")
def test_objects_of_a_batch_are_not_asked_for_while_all_of_them_are_new(server: SmallS3) -> None:
    batch = open_store("s3://bucket").begin_batch()
    names = [f"objects/ab/{number:02}" for number in range(10)]
    asked = server.count("HEAD")
    assert all(batch.keep(name, b"new") for name in names)
    assert server.count("HEAD") - asked == 3
    assert not any(batch.keep(name, b"new") for name in names)
    assert server.count("HEAD") - asked == 3 + 10
    assert all(server.objects[f"/bucket/{name}"] == b"new" for name in names)


@pytest.mark.usefixtures("credentials")
def test_key_of_the_customer_is_sent_with_writes_and_reads(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "sse-c")
    monkeypatch.setenv("AWS_SSE_CUSTOMER_KEY_BASE64", base64.b64encode(b"k" * 32).decode())
    open_store("s3://bucket").get("format")
    for method in ("PUT", "GET"):
        assert server.headers(method)["x-amz-server-side-encryption-customer-algorithm"] == "AES256"


def test_public_bucket_is_asked_without_a_signature(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    open_store("s3://bucket")
    assert server.headers("GET")["Authorization"] is None


@pytest.mark.usefixtures("credentials")
def test_server_that_fails_for_a_moment_is_asked_again(server: SmallS3) -> None:
    server.answers += [503, 500]
    assert open_store("s3://bucket").get("format") == b"pachyderm-dagster storage 1\n"


@pytest.mark.usefixtures("credentials", "server")
def test_missing_bucket_is_said_so() -> None:
    with pytest.raises(NotFoundError, match="s3://elsewhere") as caught:
        open_store("s3://elsewhere/prefix")
    assert caught.value.code == "bucket-not-found"


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("status", [401, 403])
def test_server_that_refuses_is_said_so(server: SmallS3, status: int) -> None:
    server.answers.append(status)
    with pytest.raises(StorageError) as caught:
        open_store("s3://bucket")
    assert caught.value.code == "storage-denied"


def write_profiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files in which boto3 looks for profiles."""
    (folder / "config").write_text("[default]\nregion = ap-south-1\n[profile lab]\nregion = sa-east-1\n")
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = of-default\naws_secret_access_key = x\n[lab]\naws_access_key_id = of-lab\naws_secret_access_key = x\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))


def test_profiles_of_boto3_give_credentials_and_region(server: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profiles(tmp_path, monkeypatch)
    open_store("s3://bucket/one")
    assert "of-default" in server.headers("PUT")["Authorization"]
    assert "/ap-south-1/" in server.headers("PUT")["Authorization"]
    monkeypatch.setenv("AWS_PROFILE", "lab")
    open_store("s3://bucket/two")
    assert "of-lab" in server.headers("PUT")["Authorization"]
    monkeypatch.delenv("AWS_PROFILE")
    open_store("s3://bucket/three?profile=lab")
    assert "of-lab" in server.headers("PUT")["Authorization"]
    assert "/sa-east-1/" in server.headers("PUT")["Authorization"]


def test_unknown_profile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profiles(tmp_path, monkeypatch)
    with pytest.raises(StorageError, match="nobody") as caught:
        connect_bucket("s3://bucket?profile=nobody")
    assert caught.value.code == "storage-denied"


def test_missing_credentials_are_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StorageError, match="AWS_ACCESS_KEY_ID") as caught:
        connect_bucket("s3://bucket")
    assert caught.value.code == "storage-denied"


def test_profile_without_boto3_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidError, match=r"pachyderm-dagster\[s3\]") as caught:
        connect_bucket("s3://bucket?profile=lab")
    assert caught.value.code == "extra-missing"


def renew(folder: Path, number: int) -> None:
    """As the kubelet writes a Secret: a folder of its own, and a link that changes to it."""
    made = folder / f"..{number}"
    made.mkdir(parents=True)
    for name, value in (("AWS_ACCESS_KEY_ID", f"id-{number}"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_SESSION_TOKEN", f"token-{number}")):
        (made / name).write_text(value + "\n")
        if number == 1:
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..new").symlink_to(made.name)
    (folder / "..new").rename(folder / "..data")


@pytest.mark.usefixtures("credentials")
def test_credentials_of_a_session_are_read_again_when_somebody_renews_them(server: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "secret"
    monkeypatch.setenv(CREDENTIALS_FOLDER, str(folder))
    monkeypatch.setattr("pachyderm_dagster.storage.buckets._READ_AGAIN_SECONDS", 0)
    renew(folder, 1)
    store = open_store("s3://bucket/prefix")
    assert server.headers("GET")["x-amz-security-token"] == "token-1"
    renew(folder, 2)
    # What asks for credentials waits a moment between two times; the test's own limit is the limit.
    while server.headers("GET")["x-amz-security-token"] != "token-2":
        store.get("format")
    assert "Credential=id-2/" in server.headers("GET")["Authorization"]


@pytest.mark.usefixtures("credentials")
def test_folder_without_a_session_leaves_the_variables(server: SmallS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS_FOLDER, str(tmp_path))
    open_store("s3://bucket/prefix")
    assert "Credential=some-id/" in server.headers("GET")["Authorization"]


@pytest.mark.usefixtures("credentials")
def test_boto3_is_not_imported_when_variables_are_set(server: SmallS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "boto3", raising=False)
    open_store("s3://bucket")
    assert "boto3" not in sys.modules


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket?secret_access_key=hidden",
        "s3://me:hidden@bucket/prefix",
        "s3://bucket?server_side_encryption=hidden-nonsense",
        "s3://bucket?max_retries=hidden",
        "s3://bucket#hidden",
        "gs://bucket?region=hidden",
        "az://container?account_key=hidden",
        "az://container",
    ],
)
@pytest.mark.usefixtures("credentials")
def test_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        connect_bucket(url)
    assert caught.value.code == "storage-url-invalid"


@pytest.mark.usefixtures("credentials")
def test_what_may_be_secret_in_a_url_is_not_shown() -> None:
    for url in ("s3://me:hidden@bucket/prefix", "file:///folder?key=hidden", "s3://bucket?secret_access_key=hidden"):
        with pytest.raises(InvalidError) as caught:
            open_store(url)
        assert "hidden" not in str(caught.value)


def test_buckets_of_google_and_azure_are_made_from_their_urls() -> None:
    assert repr(connect_bucket("gs://bucket/some/prefix?skip_signature=true")) == 'GCSStore(bucket="bucket", prefix="some/prefix")'
    azure = connect_bucket("az://container/some/prefix?account_name=me")
    assert repr(azure) == 'AzureStore(container_name="container", account_name="me", prefix="some/prefix")'


@pytest.mark.parametrize("url", ["gs://bucket?skip_signature=true&max_retries=0", "az://container?account_name=me&endpoint=http://127.0.0.1:1&max_retries=0"])
def test_services_that_do_not_answer_are_said_so(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"k" * 32).decode())
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(PachydermError) as caught:
        open_store(url)
    assert isinstance(caught.value, UnreachableError)


@pytest.mark.usefixtures("credentials")
def test_server_that_ignores_conditions_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_s3("bucket", conditions=False) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        environ = {"PACHYDERM_HOME": str(tmp_path / "home"), "PACHYDERM_METADATA_URL": f"sqlite:///{tmp_path}/metadata.db"}
        workspace = open_workspace(environ)
        pfs = Pfs(workspace.database, open_store("s3://bucket"))
        pfs.create_repo("data")
        content = bytes(range(256)) * 8000  # large enough for an object of its own
        written: dict[str, set[bytes]] = {}
        for number in range(3):
            with pfs.modify_file("data@master") as files:
                files.put_bytes("/same", content)
                files.put_bytes(f"/{number}", b"%d" % number)
            for key, data in server.objects.items():
                written.setdefault(key, set()).add(data)
        # What is written twice under one key is the same each time: keys come from the content, or from chance.
        assert all(len(versions) == 1 for versions in written.values())
        assert b"".join(pfs.get_file("data@master:/same")) == content
        workspace.close()


def test_object_that_is_refused_and_not_there_is_put_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # While another writer's put goes on, a service refuses this one; that one may fail yet.
    store = open_store("memory://")
    create, refusals = ObstoreStore.create, [False, False]
    monkeypatch.setattr(ObstoreStore, "create", lambda self, key, body: refusals.pop() if refusals else create(self, key, body))
    assert store.put_new("objects/ab/abcd", b"some bytes")
    assert store.get("objects/ab/abcd") == b"some bytes"
