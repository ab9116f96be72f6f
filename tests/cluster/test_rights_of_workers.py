"""Jobs in pods whose workers have the rights on the bucket that the guide names, and no others."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.cluster.homes import STORE_SECRET, Home, make_home
from tests.cluster.images import BUSYBOX, WORKER
from tests.cluster.layers import REPOSITORY, find_s3_server
from tests.cluster.pods import Namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
USER = {"AWS_ACCESS_KEY_ID": "worker", "AWS_SECRET_ACCESS_KEY": "worker-secret"}


@pytest.fixture
def home(namespace: Namespace, image: Callable[[str], str], servers: Mapping[str, str], kubeconfig: Path, tmp_path: Path) -> Home:
    for name in (BUSYBOX, WORKER):
        image(name)
    made = make_home(namespace, kubeconfig, servers, tmp_path)
    namespace.core.patch_namespaced_secret(STORE_SECRET, namespace.name, {"stringData": USER})
    return made


def policy(prefix: str) -> str:
    """Of the guide, for the user and a place of this test."""
    found = re.search(r"```json\n(.*?s3:ListBucket.*?)```", (REPOSITORY / "docs/guides/kubernetes.md").read_text(), re.DOTALL)
    assert found is not None
    said = json.loads(found[1].replace("lab-data/pachyderm", prefix).replace("lab-data", "bucket"))
    for statement in said["Statement"]:
        statement["Principal"] = {"AWS": [USER["AWS_ACCESS_KEY_ID"]]}
    return json.dumps(said)


def test_rights_that_the_guide_names_are_enough_for_workers(home: Home, servers: Mapping[str, str]) -> None:
    root = ["-a", servers["AWS_ACCESS_KEY_ID"], "-s", servers["AWS_SECRET_ACCESS_KEY"], "-er", servers["AWS_ENDPOINT_URL"]]
    user = ["-a", USER["AWS_ACCESS_KEY_ID"], "-s", USER["AWS_SECRET_ACCESS_KEY"], "-r", "user"]
    subprocess.run([find_s3_server(), "admin", *root, "create-user", *user], check=True)
    bucket = boto3.client(
        "s3",
        endpoint_url=servers["AWS_ENDPOINT_URL"],
        region_name=servers["AWS_REGION"],
        aws_access_key_id=servers["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=servers["AWS_SECRET_ACCESS_KEY"],
    )
    bucket.put_bucket_policy(Bucket="bucket", Policy=policy(home.environ["PACHYDERM_STORAGE_URL"].removeprefix("s3://")))
    try:
        home.put(a="one", b="two")
        home.create(parallelism_spec={"constant": 2})
        home.create("stays", autoscaling=True)
        home.create("fails", cmd=["sh", "-c", "echo looking; exit 3"], datum_tries=1)
        assert [home.run(name)["state"] for name in ("copy", "stays", "fails")] == ["SUCCESS", "SUCCESS", "FAILURE"]
        assert home.read("/a") == "one"
        assert "looking" in home("logs", "--pipeline", "fails")
    finally:
        bucket.delete_bucket_policy(Bucket="bucket")
