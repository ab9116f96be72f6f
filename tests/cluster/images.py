"""The images that tests run on the cluster, by the names that pods give."""

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from tests.cluster.archives import Image, Member, configuration_of, write_image
from tests.cluster.configuration import PAUSE_IMAGE
from tests.cluster.layers import CODE, COMMAND_NEEDS, ENVIRONMENT, REPOSITORY, SITE_PACKAGES, Layers
from tests.cluster.running import Cluster

BUSYBOX = "localhost/busybox:1"
"""A shell and its programs, and nothing else."""
UPPER = "localhost/upper:1"
"""One static program, and nothing else."""
NON_ROOT = "localhost/non-root:1"
"""A user of its own, and an entrypoint that tells who it is and its arguments."""
WORKER = "localhost/pachyderm-dagster-worker:1"
"""Debian 12 with Python, what workers need, and the project's code as it is now."""
COMMANDS = "localhost/pachyderm-dagster-server:1"
"""Debian 12 with Python, Dagster and the command line, as the image of the servers has them."""
NO_SHELL = "localhost/no-shell:1"
"""Debian with Python, but no shell."""
FUNCTIONS = "localhost/functions:1"
"""The code of tests/integration/exported_graph.py, with what it needs."""
PILLOW = "localhost/pillow:1"
"""What the pipelines of definitions/edges are written for, with the lock's Pillow."""

POSTGRESQL = "localhost/debian-postgresql:1"
S3 = "localhost/versitygw:1"

DEPLOY = REPOSITORY / "tests" / "deploy"
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}

RECIPES: Mapping[str, Callable[[Layers], Image]] = {
    PAUSE_IMAGE: lambda layers: Image(PAUSE_IMAGE, [layers.program("pause")], entrypoint=["/pause"], user="65535"),
    BUSYBOX: lambda layers: Image(BUSYBOX, [layers.busybox()], command=["/bin/sh"], environ=PATH),
    UPPER: lambda layers: Image(UPPER, [layers.program("upper")], entrypoint=["/upper"], command=["/pfs/in", "/pfs/out"]),
    NON_ROOT: lambda layers: Image(
        NON_ROOT,
        [layers.busybox()],
        entrypoint=["/bin/sh", "-c", 'echo "$(id -u) in $PWD: $*"', "non-root"],
        command=["nothing"],
        user="1000:1000",
        environ=PATH,
        working_folder="/tmp",
    ),
    WORKER: lambda layers: Image(
        WORKER,
        [layers.debian(), layers.static_shell(), layers.environment(), layers.code()],
        entrypoint=[f"{ENVIRONMENT}/bin/python"],
        environ={"PATH": f"{ENVIRONMENT}/bin:{PATH['PATH']}", "VIRTUAL_ENV": ENVIRONMENT},
    ),
    COMMANDS: lambda layers: Image(
        COMMANDS,
        [layers.debian(), layers.static_shell(), layers.environment(COMMAND_NEEDS), layers.command_line(), layers.code()],
        user="1000:1000",
        environ={"PATH": f"{ENVIRONMENT}/bin:{PATH['PATH']}", "VIRTUAL_ENV": ENVIRONMENT, "HOME": "/tmp"},
    ),
    FUNCTIONS: lambda layers: Image(
        FUNCTIONS,
        [
            layers.debian(),
            layers.environment(COMMAND_NEEDS),
            layers.code(),
            layers.files("graph", Member(f"{CODE}/tests/integration/exported_graph.py", REPOSITORY / "tests/integration/exported_graph.py")),
        ],
        environ={"PATH": f"{ENVIRONMENT}/bin:{PATH['PATH']}"},
    ),
    PILLOW: lambda layers: Image(
        PILLOW,
        [
            layers.debian(),
            layers.environment(("pillow",)),
            layers.folder(REPOSITORY / "definitions" / "edges", "code"),
            layers.files("python", Member("usr/local/bin/python", link="/usr/bin/python3")),
        ],
        environ={**PATH, "PYTHONPATH": SITE_PACKAGES},
    ),
    NO_SHELL: lambda layers: Image(NO_SHELL, [layers.debian(), layers.no_shells()], command=["/usr/bin/python3"], environ=PATH),
}

TRIAL: Mapping[str, Callable[[Layers], Image]] = {
    POSTGRESQL: lambda layers: Image(
        POSTGRESQL,
        [
            layers.debian("postgresql"),
            layers.files(
                "postgresql",
                Member("usr/local/bin/entrypoint", DEPLOY / "postgresql-entrypoint", 0o755),
                Member("etc/passwd", b"root:x:0:0::/:/bin/sh\npostgres:x:999:999::/data:/bin/sh\n"),
            ),
        ],
        entrypoint=["/usr/local/bin/entrypoint"],
        environ={"PATH": f"/usr/lib/postgresql/15/bin:{PATH['PATH']}"},
    ),
    S3: lambda layers: Image(S3, [layers.debian(), layers.s3_server()], entrypoint=["/versitygw"]),
}
"""For tests/deploy/trial: PostgreSQL and S3 with what the chart asks of the public images."""

SMALL = (PAUSE_IMAGE, BUSYBOX, UPPER, NON_ROOT)
"""They are built in no time; a cluster has them from the start."""


def build(name: str, cache: Path, folder: Path) -> Path:
    """Writes an image's file into a folder."""
    target = folder / f"{_file_name(name)}.tar"
    with tempfile.TemporaryDirectory() as scratch:
        write_image(target, _recipe(name)(Layers(cache, Path(scratch))))
    return target


def load_images(cluster: Cluster, names: Iterable[str] = SMALL) -> None:
    """Gives the node those of the images that it has not, or has from other sources."""
    loaded = cluster.plan.folder / "images"
    loaded.mkdir(exist_ok=True)
    there = set(cluster.images())
    for name in names:
        with tempfile.TemporaryDirectory(dir=cluster.plan.folder) as scratch:
            image = _recipe(name)(Layers(cluster.cache, Path(scratch)))
            mark, key = loaded / _file_name(name), json.dumps(configuration_of(image, ""))
            if name not in there or not mark.exists() or mark.read_text() != key:
                archive = Path(scratch, "image.tar")
                write_image(archive, image, there=cluster.contents())
                cluster.load(archive)
                mark.write_text(key)


def _recipe(name: str) -> Callable[[Layers], Image]:
    return RECIPES.get(name) or TRIAL[name]


def _file_name(image: str) -> str:
    return re.sub("[^a-z0-9.]+", "-", image)
