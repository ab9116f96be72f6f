"""A pipeline written with our components: `python louder.py COMPONENTS FILE`. Its own component tells of its artifact: kfp's local runner wants that."""

import sys

from kfp import compiler, components, dsl

_, folder, target = sys.argv
NAMES = "pfs_head", "pfs_get", "pfs_put", "pfs_diff", "pfs_dataset"
pfs_head, pfs_get, pfs_put, pfs_diff, pfs_dataset = (components.load_component_from_file(f"{folder}/{name}.yaml") for name in NAMES)
SHOUT = """
mkdir -p "$1"
for file in "$0"/*; do tr a-z A-Z <"$file" >"$1/${file##*/}"; done
file=$(printf %s "$3" | sed 's/.*"outputFile" *: *"\\([^"]*\\)".*/\\1/')
printf '{"artifacts":{"out":{"artifacts":[{"name":"out","uri":"%s"}]}}}' "$2" >"$file"
"""


@dsl.container_component  # type: ignore[untyped-decorator]
def shout(text: dsl.Input[dsl.Dataset], out: dsl.Output[dsl.Dataset]) -> dsl.ContainerSpec:
    """The files of an artifact in capitals."""
    return dsl.ContainerSpec(image="busybox", command=["sh", "-c", SHOUT], args=[text.path, out.path, out.uri, "{{$}}"])


@dsl.pipeline(name="louder")  # type: ignore[untyped-decorator]
def louder(uri: str, old: str) -> None:
    """What books holds in capitals, and held in an older commit, and what was added to it, each as a commit."""
    commit = pfs_head(repo="books").outputs["commit"]
    got = pfs_get(repo="books", commit=commit)
    loud = shout(text=got.outputs["data"])
    pfs_put(repo="loud", made_from=got.outputs["made_from"], data=loud.outputs["out"])
    older = shout(text=pfs_dataset(uri=uri, repo="books", commit=old).outputs["data"])
    pfs_put(repo="older", data=older.outputs["out"])
    changes = pfs_diff(repo="books", new=commit)
    pfs_put(repo="added", made_from=changes.outputs["made_from"], data=changes.outputs["data"])


compiler.Compiler().compile(louder, target)
