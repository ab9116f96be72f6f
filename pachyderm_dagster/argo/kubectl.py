"""The part of `kubectl` that is about Deployments and what belongs to them, over the objects of a home."""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

import yaml

from pachyderm_dagster.argo.deployment_changes import restarted, with_environment, with_images
from pachyderm_dagster.argo.go_yaml import read_documents
from pachyderm_dagster.argo.home_kinds import CONFIG_MAP, DEPLOYMENT, REPLICA_SET, SECRET, SERVICE, VERSIONS, check_object
from pachyderm_dagster.argo.home_objects import HomeObjects, revision_of
from pachyderm_dagster.argo.kept_deployment import TOO_LATE
from pachyderm_dagster.argo.object_paths import json_path
from pachyderm_dagster.argo.resources import Document, Reference
from pachyderm_dagster.clock import Clock
from pachyderm_dagster.durations import parse_duration
from pachyderm_dagster.errors import ExecutionError, InvalidError, NotFoundError

_LOOK_SECONDS = 0.2
_KINDS: Mapping[str, str] = {
    **dict.fromkeys(("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"), DEPLOYMENT),
    **dict.fromkeys(("replicaset", "replicasets", "rs", "replicaset.apps", "replicasets.apps"), REPLICA_SET),
    **dict.fromkeys(("service", "services", "svc"), SERVICE),
    **dict.fromkeys(("configmap", "configmaps", "cm"), CONFIG_MAP),
    **dict.fromkeys(("secret", "secrets"), SECRET),
}
_PATCHES = ("strategic", "merge")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command is run in.

    Attributes:
        say: takes lines of the answer.
        note: takes lines that are no part of it.
        read: the text of a file; `-` is the standard input.
    """

    objects: HomeObjects
    say: Callable[[str], None]
    note: Callable[[str], None]
    read: Callable[[str], str]
    clock: Clock
    sleep: Callable[[float], None] = time.sleep


def run_kubectl(words: Sequence[str], around: Surroundings) -> None:
    """Does what a command line of kubectl says.

    Raises:
        InvalidError: `kubectl-invalid`, for what is not of this part of kubectl, and as `HomeObjects`.
        NotFoundError: `object-not-found`.
        ExecutionError: `rollout-failed`.
        StateError: `deployments-not-kept`.
    """
    asked = _parser().parse_args(list(words))
    asked.act(asked, around)


# --- what it takes


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidError("kubectl-invalid", f"{message}; what there is: {_offered(_parser())}")


def _parser() -> argparse.ArgumentParser:
    shared = _Parser(add_help=False, allow_abbrev=False)
    shared.add_argument("-n", "--namespace", help="taken; a home has one namespace")
    parser = _Parser("kubectl", parents=[shared], allow_abbrev=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(below: "argparse._SubParsersAction[_Parser]", name: str, act: Callable[..., None]) -> argparse.ArgumentParser:
        found = below.add_parser(name, parents=[shared], allow_abbrev=False)
        found.set_defaults(act=act)
        return found

    for name, act in (("apply", _apply), ("create", _create)):
        command(commands, name, act).add_argument("-f", "--filename", dest="files", action="append", required=True)
    get = command(commands, "get", _get)
    get.add_argument("named", nargs="+")
    get.add_argument("-o", "--output", default="")
    delete = command(commands, "delete", _delete)
    delete.add_argument("named", nargs="*")
    delete.add_argument("-f", "--filename", dest="files", action="append", default=[])
    delete.add_argument("--ignore-not-found", action="store_true")
    patch = command(commands, "patch", _patch)
    patch.add_argument("named", nargs="+")
    patch.add_argument("-p", "--patch", required=True)
    patch.add_argument("--type", choices=_PATCHES, default=_PATCHES[0])
    scale = command(commands, "scale", _scale)
    scale.add_argument("named", nargs="+")
    scale.add_argument("--replicas", type=int, required=True)
    setting = commands.add_parser("set", allow_abbrev=False).add_subparsers(metavar="WHAT", required=True)
    for name, act in (("env", _set_env), ("image", _set_image)):
        one = command(setting, name, act)
        one.add_argument("named", nargs="+")
        if name == "env":
            one.add_argument("-c", "--containers", default="*")
    rollout = commands.add_parser("rollout", allow_abbrev=False).add_subparsers(metavar="WHAT", required=True)
    status = command(rollout, "status", _rollout_status)
    status.add_argument("--timeout")
    undo = command(rollout, "undo", _rollout_undo)
    undo.add_argument("--to-revision", type=int, default=0)
    for one in (status, undo, command(rollout, "restart", _rollout_restart), command(rollout, "history", _rollout_history)):
        one.add_argument("named", nargs="+")
    return parser


def _offered(parser: argparse.ArgumentParser) -> str:
    found = []
    for action in parser._actions:  # noqa: SLF001  argparse has no other way to its commands
        for name, below in (action.choices or {}).items() if isinstance(action, argparse._SubParsersAction) else ():  # noqa: SLF001
            deeper = _offered(below)
            found.append(f"{name} {deeper.replace(', ', '|')}" if deeper else name)
    return ", ".join(found)


def _named(words: Sequence[str]) -> tuple[str, list[str]]:
    """A kind and names of it, as `KIND NAME...` or `KIND/NAME...`."""
    if not words:
        raise InvalidError("kubectl-invalid", "no object is named; write KIND/NAME")
    kinds, names = [], []
    if "/" not in words[0]:
        kinds, names = [words[0]], list(words[1:])
    for word in words if "/" in words[0] else ():
        kind, slash, name = word.partition("/")
        if not slash:
            raise InvalidError("kubectl-invalid", f"{word!r} names no object; write KIND/NAME")
        kinds.append(kind)
        names.append(name)
    found = {_KINDS.get(kind.lower(), "") for kind in kinds}
    if len(found) != 1 or "" in found:
        raise InvalidError("kubectl-invalid", f"{' '.join(kinds)!r} is no kind of a home; there are {', '.join(VERSIONS)}")
    return found.pop(), names


def _deployment(words: Sequence[str]) -> Reference:
    kind, names = _named(words)
    if kind != DEPLOYMENT or len(names) != 1:
        raise InvalidError("kubectl-invalid", f"{' '.join(words)!r} does not name one Deployment; write deployment/NAME")
    return _reference(kind, names[0])


def _reference(kind: str, name: str) -> Reference:
    return Reference(VERSIONS[kind], kind, "", name)


def _shown(document: Document) -> str:
    version, _, _ = document["apiVersion"].rpartition("/")
    group = version.rpartition("/")[0] or version
    kind = document["kind"].lower()
    return f"{kind}.{group}/{document['metadata']['name']}" if group else f"{kind}/{document['metadata']['name']}"


def _documents(files: Iterable[str], around: Surroundings) -> Iterator[Document]:
    for file in files:
        for document, place in read_documents(around.read(file), file):
            if not isinstance(document, dict):
                raise place.invalid("expected an object")
            yield document


# --- what it does


def _apply(asked: argparse.Namespace, around: Surroundings) -> None:
    for manifest in list(_documents(asked.files, around)):
        reference = Reference.of(manifest)
        there = _find(around.objects, reference)
        found = around.objects.apply(manifest)
        _tell_notes(found, around)
        changed = "created" if there is None else "unchanged" if _version(found) == _version(there) else "configured"
        around.say(f"{_shown(found)} {changed}")


def _create(asked: argparse.Namespace, around: Surroundings) -> None:
    for manifest in list(_documents(asked.files, around)):
        found = around.objects.act("create", manifest, merge="", node="")
        assert found is not None
        _tell_notes(found, around)
        around.say(f"{_shown(found)} created")


def _tell_notes(document: Document, around: Surroundings) -> None:
    for note in check_object(document):
        around.note(f"note: {note}")
    if document["kind"] == DEPLOYMENT and not around.objects.is_kept():
        around.note("note: nothing keeps the Deployments of this home now; `pachctl run deployment` or `pachctl dev` does")


def _find(objects: HomeObjects, reference: Reference) -> Document | None:
    try:
        return objects.get(reference)
    except NotFoundError:
        return None


def _version(document: Document) -> str:
    return str(document["metadata"].get("resourceVersion"))


def _delete(asked: argparse.Namespace, around: Surroundings) -> None:
    kind, names = _named(asked.named) if asked.named else ("", [])
    wanted = [_reference(kind, name) for name in names] + [Reference.of(one) for one in _documents(asked.files, around)]
    if not wanted:
        raise InvalidError("kubectl-invalid", "nothing is named that is to be deleted; write KIND/NAME, or -f FILE")
    for reference in wanted:
        try:
            around.objects.delete(reference)
        except NotFoundError:
            if not asked.ignore_not_found:
                raise
            continue
        around.say(f'{reference.kind.lower()} "{reference.name}" deleted')


def _get(asked: argparse.Namespace, around: Surroundings) -> None:
    kind, names = _named(asked.named)
    found = [around.objects.get(_reference(kind, name)) for name in names] if names else list(around.objects.list(kind))
    form, equals, template = asked.output.partition("=")
    whole = found[0] if len(names) == 1 else {"apiVersion": "v1", "kind": "List", "items": found}
    if form == "json" and not equals:
        around.say(json.dumps(whole, indent=4, ensure_ascii=False))
    elif form == "yaml" and not equals:
        around.say(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True).rstrip("\n"))
    elif form == "name" and not equals:
        for one in found:
            around.say(_shown(one))
    elif form == "jsonpath" and template:
        around.say(json_path(template, whole) or "")
    elif not asked.output:
        _table(kind, found, around)
    else:
        raise InvalidError("kubectl-invalid", f"{asked.output!r} is no form of output; there are json, yaml, name and jsonpath={{.spec.replicas}}")


def _table(kind: str, found: Sequence[Document], around: Surroundings) -> None:
    titles = ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "MESSAGE"] if kind == DEPLOYMENT else ["NAME"]
    rows = [titles, *([one["metadata"]["name"], *(_row(one) if kind == DEPLOYMENT else ())] for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(titles))]
    for row in rows:
        around.say("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(document: Document) -> list[str]:
    status = document.get("status", {})
    counts = [str(status.get(name, 0)) for name in ("updatedReplicas", "availableReplicas")]
    troubles = [one["message"] for one in status.get("conditions", ()) if one["status"] != "True"]
    return [f"{status.get('readyReplicas', 0)}/{document['spec']['replicas']}", *counts, "; ".join(troubles)]


def _patch(asked: argparse.Namespace, around: Surroundings) -> None:
    kind, names = _named(asked.named)
    documents = [document for document, _ in read_documents(asked.patch, "--patch")]
    patch = documents[0] if len(documents) == 1 else None
    if not isinstance(patch, dict) or not isinstance(patch.get("metadata") or {}, dict):
        raise InvalidError("kubectl-invalid", "a patch is one object, as its 'metadata' is; write it in JSON or YAML")
    for name in names:
        manifest = {**patch, "apiVersion": VERSIONS[kind], "kind": kind, "metadata": {**(patch.get("metadata") or {}), "name": name}}
        found = around.objects.act("patch", manifest, merge=asked.type, node="")
        assert found is not None
        around.say(f"{_shown(found)} patched")


def _scale(asked: argparse.Namespace, around: Surroundings) -> None:
    found = _changed(asked.named, around, lambda there: {**there, "spec": {**there["spec"], "replicas": asked.replicas}})
    around.say(f"{_shown(found)} scaled")


def _changed(words: Sequence[str], around: Surroundings, change: Callable[[Document], Document]) -> Document:
    return around.objects.change(_deployment(words), change)


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """What names objects, and what is to be set of them."""
    first = next((index for index, word in enumerate(words) if "=" in word or word.endswith("-")), len(words))
    if first == len(words):
        raise InvalidError("kubectl-invalid", f"{' '.join(words)!r} sets nothing; write NAME=VALUE, or NAME- to remove a variable")
    return list(words[:first]), list(words[first:])


def _set_env(asked: argparse.Namespace, around: Surroundings) -> None:
    words, changes = _split(asked.named)
    found = _changed(words, around, lambda there: with_environment(there, changes, asked.containers))
    around.say(f"{_shown(found)} env updated")


def _set_image(asked: argparse.Namespace, around: Surroundings) -> None:
    words, changes = _split(asked.named)
    found = _changed(words, around, lambda there: with_images(there, changes))
    around.say(f"{_shown(found)} image updated")


# --- rollouts


def _rollout_status(asked: argparse.Namespace, around: Surroundings) -> None:
    reference = _deployment(asked.named)
    limit = parse_duration(asked.timeout) if asked.timeout else None
    began, said = around.clock.now(), ""
    while True:
        waiting = _waits_for(around.objects.get(reference))
        if not waiting:
            around.say(f'deployment "{reference.name}" successfully rolled out')
            return
        if waiting != said:
            around.say(waiting)
            said = waiting
        if limit is not None and (around.clock.now() - began).total_seconds() >= limit:
            problem = f"deployment {reference.name!r} was not rolled out after {asked.timeout}: {waiting}"
            raise ExecutionError("rollout-failed", f"{problem}; it goes on, and `rollout undo` goes back")
        around.sleep(_LOOK_SECONDS)


def _waits_for(document: Document) -> str:
    """What a rollout waits for, in kubectl's words; empty when it is done.

    Raises:
        ExecutionError: `rollout-failed`.
    """
    name, status = document["metadata"]["name"], document.get("status", {})
    if status.get("observedGeneration", 0) < document["metadata"]["generation"]:
        return "Waiting for deployment spec update to be observed..."
    for condition in status["conditions"]:
        if condition["reason"] == TOO_LATE:
            problem = f"deployment {name!r} exceeded its progress deadline: {condition['message']}"
            raise ExecutionError("rollout-failed", f"{problem}; `rollout undo` goes back to the template before")
    total, updated, available = (status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas"))
    begin = f'Waiting for deployment "{name}" rollout to finish:'
    if updated < document["spec"]["replicas"]:
        return f"{begin} {updated} out of {document['spec']['replicas']} new replicas have been updated..."
    if total > updated:
        return f"{begin} {total - updated} old replicas are pending termination..."
    return f"{begin} {available} of {updated} updated replicas are available..." if available < updated else ""


def _rollout_undo(asked: argparse.Namespace, around: Surroundings) -> None:
    reference = _deployment(asked.named)
    around.objects.get(reference)
    known = {revision_of(one): one for one in around.objects.revisions(reference.name)}
    number = asked.to_revision or next(iter(sorted(known, reverse=True)[1:]), 0)
    if number not in known:
        wanted = f"revision {number}" if number else "revision before its newest"
        raise NotFoundError("object-not-found", f"{reference.name!r} has no {wanted} to go back to; there are: {', '.join(map(str, sorted(known)))}")
    template = known[number]["spec"]["template"]
    found = around.objects.change(reference, lambda there: {**there, "spec": {**there["spec"], "template": template}})
    around.say(f"{_shown(found)} rolled back")


def _rollout_restart(asked: argparse.Namespace, around: Surroundings) -> None:
    found = _changed(asked.named, around, lambda there: restarted(there, around.clock.now()))
    around.say(f"{_shown(found)} restarted")


def _rollout_history(asked: argparse.Namespace, around: Surroundings) -> None:
    reference = _deployment(asked.named)
    around.objects.get(reference)
    around.say("REVISION   REPLICASET")
    for one in around.objects.revisions(reference.name):
        around.say(f"{revision_of(one):<8}   {one['metadata']['name']}")
