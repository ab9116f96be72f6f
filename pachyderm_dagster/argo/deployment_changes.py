"""Changes of the template of a Deployment, as `kubectl set` and `rollout restart` make them: pure, from one document to another."""

import fnmatch
import functools
from collections.abc import Callable, Sequence
from datetime import datetime

from pachyderm_dagster.argo.resources import Document
from pachyderm_dagster.errors import InvalidError, NotFoundError

_RESTARTED = "kubectl.kubernetes.io/restartedAt"
_LISTS = ("initContainers", "containers")


def with_environment(document: Document, changes: Sequence[str], containers: str) -> Document:
    """With variables set (`NAME=VALUE`) or taken away (`NAME-`) in the containers, init containers too, whose names a pattern matches.

    Raises:
        InvalidError: `kubectl-invalid`.
        NotFoundError: `container-not-found`.
    """
    wanted: dict[str, str | None] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals and not change.endswith("-"):
            raise InvalidError("kubectl-invalid", f"{change!r} sets no variable; write NAME=VALUE, or NAME- to remove it")
        wanted[name if equals else change[:-1]] = value if equals else None

    def changed(container: Document) -> Document:
        there = {one["name"]: one for one in container.get("env") or ()}
        for name, value in wanted.items():
            if value is None:
                there.pop(name, None)
            else:
                there[name] = {"name": name, "value": value}
        return {**container, "env": list(there.values())}

    return _with_containers(document, containers, changed)


def with_images(document: Document, changes: Sequence[str]) -> Document:
    """With other images: `CONTAINER=IMAGE`, where `*` is all of them. Errors as `with_environment`."""
    for change in changes:
        container, equals, image = change.partition("=")
        if not equals or not image:
            raise InvalidError("kubectl-invalid", f"{change!r} sets no image; write CONTAINER=IMAGE")
        document = _with_containers(document, container, functools.partial(_with_image, image))
    return document


def _with_image(image: str, container: Document) -> Document:
    return {**container, "image": image}


def restarted(document: Document, now: datetime) -> Document:
    """With a template that is another one, so that all pods are replaced."""
    template = document["spec"]["template"]
    metadata = template.get("metadata") or {}
    annotations = {**(metadata.get("annotations") or {}), _RESTARTED: now.isoformat(timespec="microseconds")}
    return _with_template(document, {**template, "metadata": {**metadata, "annotations": annotations}})


def _with_template(document: Document, template: Document) -> Document:
    return {**document, "spec": {**document["spec"], "template": template}}


def _with_containers(document: Document, pattern: str, change: Callable[[Document], Document]) -> Document:
    template = document["spec"]["template"]
    pod = template["spec"]
    names = [one.get("name", "") for key in _LISTS for one in pod.get(key) or ()]
    if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
        message = f"{document['metadata']['name']!r} has no container {pattern!r}; it has {', '.join(names)}"
        raise NotFoundError("container-not-found", message)
    lists = {key: [change(one) if fnmatch.fnmatchcase(one.get("name", ""), pattern) else one for one in pod[key]] for key in _LISTS if pod.get(key)}
    return _with_template(document, {**template, "spec": {**pod, **lists}})
