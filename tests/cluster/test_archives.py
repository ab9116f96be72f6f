"""Images as files: the same contents are the same bytes, and what is in them is what containers see."""

import hashlib
import json
import tarfile
from pathlib import Path

from tests.cluster.archives import Image, Layer, Member, configuration_of, folder_members, write_image, write_layer


def test_layer_is_the_same_bytes_in_whatever_order_its_files_come(tmp_path: Path) -> None:
    members = [Member("b", b"two"), Member("a", b"one", 0o755), Member("c", link="a"), Member("d", is_folder=True)]

    first = write_layer(tmp_path / "first", members)
    second = write_layer(tmp_path / "second", reversed(members))

    assert first.digest == second.digest == hashlib.sha256((tmp_path / "first").read_bytes()).hexdigest()


def test_layer_of_a_folder_does_not_depend_on_times_and_keeps_modes_and_links(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "inside" / "__pycache__").mkdir(parents=True)
        (folder / "inside" / "__pycache__" / "x.pyc").write_bytes(name.encode())
        (folder / "inside" / "run").write_text("#!/bin/sh\n")
        (folder / "inside" / "run").chmod(0o755)
        (folder / "link").symlink_to("inside/run")
        digests.append(write_layer(tmp_path / f"{name}.layer", folder_members(folder, "opt/code")).digest)

    assert digests[0] == digests[1]
    with tarfile.open(tmp_path / "one.layer") as archive:
        assert archive.getnames() == ["opt/code", "opt/code/inside", "opt/code/inside/run", "opt/code/link"]
        assert archive.getmember("opt/code/inside/run").mode == 0o755
        assert archive.getmember("opt/code/link").linkname == "inside/run"


def test_large_file_comes_from_the_machine_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 100_000)

    write_layer(tmp_path / "layer", [Member("large", tmp_path / "large")])

    with tarfile.open(tmp_path / "layer") as archive:
        extracted = archive.extractfile("large")
        assert extracted is not None and extracted.read() == b"x" * 100_000


def test_image_lists_its_layers_from_the_lowest_up(tmp_path: Path) -> None:
    lower, upper = write_layer(tmp_path / "lower", [Member("a", b"1")]), write_layer(tmp_path / "upper", [Member("a", b"2")])

    write_image(tmp_path / "image.tar", Image("localhost/x:1", [lower, upper], ["/a"], ["b"], "1000", {"HOME": "/tmp"}, "/tmp"))

    with tarfile.open(tmp_path / "image.tar") as archive:
        read = {name: archive.extractfile(name) for name in archive.getnames()}
        contents = {name: file.read() for name, file in read.items() if file is not None}
    [manifest] = json.loads(contents["manifest.json"])
    configuration = json.loads(contents[manifest["Config"]])
    assert manifest["RepoTags"] == ["localhost/x:1"]
    [listed] = json.loads(contents["index.json"])["manifests"]
    described = json.loads(contents[f"blobs/sha256/{listed['digest'].removeprefix('sha256:')}"])
    assert listed["annotations"]["io.containerd.image.name"] == "localhost/x:1"
    assert described["config"]["digest"] == f"sha256:{hashlib.sha256(contents[manifest['Config']]).hexdigest()}"
    assert [layer["digest"] for layer in described["layers"]] == configuration["rootfs"]["diff_ids"]
    assert [layer["size"] for layer in described["layers"]] == [lower.file.stat().st_size, upper.file.stat().st_size]
    assert [contents[name] for name in manifest["Layers"]] == [lower.file.read_bytes(), upper.file.read_bytes()]
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{lower.digest}", f"sha256:{upper.digest}"]
    assert configuration["config"] == {"Entrypoint": ["/a"], "Cmd": ["b"], "User": "1000", "Env": ["HOME=/tmp"], "WorkingDir": "/tmp"}


def test_layer_that_is_where_the_image_goes_is_left_out(tmp_path: Path) -> None:
    lower, upper = write_layer(tmp_path / "lower", [Member("a", b"1")]), write_layer(tmp_path / "upper", [Member("a", b"2")])

    write_image(tmp_path / "image.tar", Image("localhost/x:1", [lower, upper]), there={lower.digest})

    with tarfile.open(tmp_path / "image.tar") as archive:
        names = archive.getnames()
    assert f"blobs/sha256/{upper.digest}" in names and f"blobs/sha256/{lower.digest}" not in names


def test_image_without_entrypoint_says_nothing_of_one(tmp_path: Path) -> None:
    configuration = configuration_of(Image("localhost/x:1", [Layer(tmp_path, "0")]), "amd64")

    assert configuration["config"] == {"Env": [], "WorkingDir": "/"}
