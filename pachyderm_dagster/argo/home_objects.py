"""The objects of a home that has no cluster: Deployments, which a keeper runs, and what belongs to them, kept as a cluster would keep them."""

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pachyderm_dagster.argo.home_kinds import DEPLOYMENT, REPLICA_SET, SYSTEM_FIELDS, VERSIONS, check_object, checked
from pachyderm_dagster.argo.kept_files import locked
from pachyderm_dagster.argo.kept_objects import KeptObject, KeptObjects, KeptValues, ObjectName
from pachyderm_dagster.argo.merging import merged
from pachyderm_dagster.argo.resource_flags import Flags
from pachyderm_dagster.argo.resources import NODE, OWNER, Document, Owned, Reference
from pachyderm_dagster.argo.three_way import applied
from pachyderm_dagster.clock import Clock, SystemClock
from pachyderm_dagster.errors import ConflictError, ExistsError, InvalidError, NotFoundError, StateError
from pachyderm_dagster.pps.merge_patches import merge_patch
from pachyderm_dagster.pps.strict import Place

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
UNKEPT_SECONDS = 30.0
NO_FLAGS = Flags()
_HISTORY = 10


class HomeObjects:
    """Those of one home; the `Objects` of workflows.

    Args:
        home: its folder, of which pods see `argo/objects`.
        monotonic: seconds that only grow.
    """

    def __init__(self, home: Path, clock: Clock | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kept, self._clock, self._monotonic = KeptObjects(home), clock or SystemClock(), monotonic
        self.folder = home / "argo" / "objects"
        self._unkept_since: float | None = None

    # --- looking

    def get(self, reference: Reference) -> Document:
        """As `Objects.get`.

        Raises:
            NotFoundError: `object-not-found`.
            StateError: `deployments-not-kept`, when a Deployment was asked for again and again, and nobody kept it meanwhile.
        """
        found = self._there(checked(reference))
        if reference.kind != DEPLOYMENT:
            return found
        if not self._check_kept(reference.name):
            return _without_status(found)
        # Who began to keep meanwhile has first taken away what another said.
        with self._changing():
            return self._there(reference)

    def list(self, kind: str) -> Sequence[Document]:
        """All of a kind, by name."""
        found = [one.document for one in self._kept.of_kind(kind)]
        return found if kind != DEPLOYMENT or self.is_kept() else [_without_status(one) for one in found]

    def values(self, kind: str) -> Mapping[str, Mapping[str, str]]:
        """The values of ConfigMaps or Secrets, each as it is when it is asked for. That raises InvalidError, or
        StorageError, of one that cannot be read.
        """
        return KeptValues(self._kept, kind)

    def is_kept(self) -> bool:
        """Whether a keeper looks after the Deployments now."""
        try:
            # Shared, so that those who ask at the same time do not take one another for a keeper.
            with self._kept_lock(fcntl.LOCK_SH):
                return False
        except BlockingIOError:
            return True

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """For a block nobody else keeps the Deployments.

        Raises:
            BlockingIOError: somebody does.
        """
        with contextlib.ExitStack() as kept:
            with self._changing():
                kept.enter_context(self._kept_lock(fcntl.LOCK_EX))
                for one in self._kept.of_kind(DEPLOYMENT):
                    # What another keeper said holds no more.
                    self._write(_without_status(one.document))
            yield

    def _kept_lock(self, kind: int) -> contextlib.AbstractContextManager[None]:
        self._make_folder()
        return locked(self.folder / ".keeper", kind | fcntl.LOCK_NB)

    def _check_kept(self, name: str) -> bool:
        """Whether the Deployments are kept; that they have not been for long is an error."""
        if self.is_kept():
            self._unkept_since = None
            return True
        if self._unkept_since is None:
            self._unkept_since = self._monotonic()
        if self._monotonic() - self._unkept_since >= UNKEPT_SECONDS:
            message = f"nothing keeps the Deployments of this home, so that nothing comes of {name!r}; start `pachctl run deployment` or `pachctl dev`"
            raise StateError("deployments-not-kept", message)
        return False

    def _find(self, reference: Reference) -> Document | None:
        found = self._kept.find(ObjectName(reference.kind, reference.name))
        return None if found is None else found.document

    def _there(self, reference: Reference) -> Document:
        found = self._find(reference)
        if found is None:
            known = ", ".join(one["metadata"]["name"] for one in self.list(reference.kind)) or "none"
            raise NotFoundError("object-not-found", f"this home has no {reference.kind} {reference.name!r}; those that it has: {known}")
        return found

    # --- changing

    def act(self, action: str, manifest: Document, *, merge: str, node: str, flags: Flags = NO_FLAGS) -> Document | None:
        """As `Objects.act`.

        Raises:
            InvalidError: `manifest-invalid`, `object-unknown`, `spec-invalid`, `spec-unsupported`, `flag-unknown`.
            NotFoundError: `object-not-found`.
            ExistsError: `object-exists`.
        """
        reference = checked(Reference.of(manifest))
        if flags.dry_run or flags.cascade == "Orphan" or flags.grace_seconds is not None:
            raise InvalidError("flag-unknown", "a home without a cluster does without --dry-run, --grace-period and --cascade=orphan; leave them out")
        if action in ("get", "delete") and flags.ignores_missing and self._find(reference) is None:
            return None
        match action:
            case "get":
                return self.get(reference)
            case "delete":
                self.delete(reference)
                return None
            case "create":
                return self._create(reference, manifest, node)
            case "apply":
                return self.apply(manifest)
            case "replace":
                return self.change(reference, lambda there: {**manifest, **({"status": there["status"]} if "status" in there else {})})
            case _:
                patch = merge_patch if merge == "merge" else merged
                return self.change(reference, lambda there: patch(there, manifest))

    def _create(self, reference: Reference, manifest: Document, node: str) -> Document:
        metadata = manifest["metadata"]
        name = reference.name or str(metadata["generateName"]) + self._clock.new_id()[:5]
        with self._changing():
            there = self._find(Reference(reference.version, reference.kind, "", name))
            if there is None:
                annotations = {**_annotations(manifest), **({NODE: node} if node else {})}
                return self._put(None, {**manifest, "metadata": {**metadata, "name": name, "annotations": annotations}})
        if not node or (there["metadata"].get("annotations") or {}).get(NODE) != node:
            raise ExistsError("object-exists", f"this home has a {reference.kind} {name!r} already; use 'apply'")
        return there

    def apply(self, manifest: Document) -> Document:
        """Makes an object what a manifest says; what others have set of it stays. Errors as `act`."""
        reference = checked(Reference.of(manifest))
        if not reference.name:
            raise InvalidError("manifest-invalid", "what is applied has a 'name'; write it in place of 'generateName'")
        _annotations(manifest)
        last = json.dumps(manifest, sort_keys=True)
        with self._changing():
            there = self._find(reference)
            before = json.loads(((there or {}).get("metadata", {}).get("annotations") or {}).get(LAST_APPLIED) or "{}")
            found = applied(there or {}, before, manifest)
            return self._put(there, {**found, "metadata": {**found["metadata"], "annotations": {**_annotations(found), LAST_APPLIED: last}}})

    def change(self, reference: Reference, change: Callable[[Document], Document]) -> Document:
        """Changes an object as a function says. Errors as `act`."""
        with self._changing():
            there = self._there(checked(reference))
            return self._put(there, change(there))

    def delete(self, reference: Reference) -> None:
        """Removes an object, and what belongs to it. Errors as `act`."""
        with self._changing():
            self._there(checked(reference))
            self._kept.delete(ObjectName(reference.kind, reference.name))
            if reference.kind == DEPLOYMENT:
                for one in self.revisions(reference.name):
                    self._kept.delete(ObjectName(REPLICA_SET, one["metadata"]["name"]))

    def remove_owned(self, owned: Owned, run: str) -> None:
        """As `Objects.remove_owned`."""
        for one in self._kept.of_kind(owned.kind):
            if (one.document["metadata"].get("labels") or {}).get(OWNER) == run:
                # Somebody else may remove it meanwhile.
                with contextlib.suppress(NotFoundError):
                    self.delete(Reference(owned.version, owned.kind, owned.namespace, one.name.name))

    def set_status(self, name: str, uid: str, status: Document) -> None:
        """Says how a Deployment is, if it is still there."""
        with self._changing():
            there = self._find(Reference(VERSIONS[DEPLOYMENT], DEPLOYMENT, "", name))
            if there is not None and there["metadata"]["uid"] == uid and there.get("status") != status:
                self._write({**there, "status": status, "metadata": self._stamped(there["metadata"], there["metadata"], is_new_spec=False)})

    def _put(self, there: Document | None, document: Document) -> Document:
        """Keeps an object in place of what was there; what is wrong with it is refused."""
        kind, name = document["kind"], document["metadata"]["name"]
        check_object(document)
        before = {} if there is None else there["metadata"]
        if kind == DEPLOYMENT:
            document = {**document, "spec": {"replicas": 1, **document["spec"]}}
        is_new_spec = there is None or document.get("spec") != there.get("spec")
        document = {**document, "metadata": self._stamped(document["metadata"], before, is_new_spec=is_new_spec)}
        if kind == DEPLOYMENT:
            revision = self._revise(name, document["spec"])
            annotations = {**(document["metadata"].get("annotations") or {}), REVISION: str(revision)}
            document = {**document, "metadata": {**document["metadata"], "annotations": annotations}}
        if there is not None and {**document, "metadata": {**document["metadata"], "resourceVersion": before.get("resourceVersion")}} == there:
            return there
        self._write(document)
        return document

    def _stamped(self, metadata: Document, before: Document, *, is_new_spec: bool) -> Document:
        """Metadata with what the system sets of it."""
        wanted = metadata.get("resourceVersion")
        if before and wanted and wanted != before.get("resourceVersion"):
            raise ConflictError("object-changed", f"{metadata['name']!r} was changed meanwhile; look again, and change what is there now")
        return {
            **{name: value for name, value in metadata.items() if name not in SYSTEM_FIELDS},
            "uid": before.get("uid") or self._clock.new_id(),
            "creationTimestamp": before.get("creationTimestamp") or self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
            "generation": before.get("generation", 0) + is_new_spec,
            "resourceVersion": str(int(before.get("resourceVersion") or 0) + 1),
        }

    def _write(self, document: Document) -> None:
        name = ObjectName(document["kind"], document["metadata"]["name"])
        self._kept.put(KeptObject(name=name, document=document, source=str(name)))

    # --- revisions

    def revisions(self, deployment: str) -> Sequence[Document]:
        """The ReplicaSets of a Deployment, the oldest revision first."""
        found = [one for one in self.list(REPLICA_SET) if one["metadata"]["labels"]["deployment"] == deployment]
        return sorted(found, key=revision_of)

    def _revise(self, name: str, spec: Document) -> int:
        """Keeps the template of a Deployment, as its newest revision; the number of that."""
        known = self.revisions(name)
        digest = template_hash(spec["template"])
        newest = known[-1] if known else None
        if newest is not None and newest["metadata"]["labels"][HASH] == digest:
            return revision_of(newest)
        number = 1 if newest is None else revision_of(newest) + 1
        metadata = {"name": f"{name}-{digest}", "labels": {"deployment": name, HASH: digest}, "annotations": {REVISION: str(number)}}
        self._write({"apiVersion": VERSIONS[REPLICA_SET], "kind": REPLICA_SET, "metadata": metadata, "spec": {"template": spec["template"]}})
        limit = spec.get("revisionHistoryLimit")
        others = [one for one in known if one["metadata"]["name"] != metadata["name"]]
        for one in others[: max(0, len(others) - (_HISTORY if limit is None else int(limit)))]:
            self._kept.delete(ObjectName(REPLICA_SET, one["metadata"]["name"]))
        return number

    # --- files

    def _make_folder(self) -> None:
        # Secrets are among them.
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        self._make_folder()
        with locked(self.folder / ".changing"):
            yield


def revision_of(document: Document) -> int:
    """The revision of a Deployment, or of a ReplicaSet."""
    return int(document["metadata"]["annotations"][REVISION])


def template_hash(template: Document) -> str:
    """What tells a template of pods from others."""
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]


def _annotations(manifest: Document) -> Document:
    """Those of an object, to which others are added before all of it is looked at."""
    metadata = manifest["metadata"]
    if isinstance(found := metadata.get("annotations") or {}, dict):
        return found
    place = Place(f"{manifest['kind']} {metadata.get('name', '')}")
    raise place.field("metadata").field("annotations").invalid(f"expected an object, found {found!r}")


def _without_status(document: Document) -> Document:
    return {name: value for name, value in document.items() if name != "status"}
