"""Marking what the record refers to in the store: for the collector, who keeps it, and for extracts, which carry it."""

from collections.abc import Callable, Collection, Mapping

from pachyderm_dagster.pfs.roots import HeldTree, PipelineTrees, root_of
from pachyderm_dagster.pfs.staging import layer_ref, load_layer
from pachyderm_dagster.storage.objects import ObjectStore
from pachyderm_dagster.storage.reachable import Reachable


def mark(
    store: ObjectStore,
    trees: Mapping[tuple[str, bytes], HeldTree],
    layers: Collection[bytes],
    kept: PipelineTrees,
    *,
    measure: bool,
    check: Callable[[], None],
) -> Reachable:
    """What trees (by kind and encoded root) and staged layers reach. `check` is called before each of them.

    Raises:
        NotFoundError: `object-not-found`, StorageError: `object-corrupt`, when a node cannot be read.
    """
    reached = Reachable(store, measure=measure)
    for _, held in sorted(trees.items()):
        check()
        reached.add_tree(root_of(held, kept))
    for staged in sorted(layers):
        check()
        reached.add_refs([layer_ref(staged)])
        for batch in load_layer(store, staged).puts.to_batches():
            reached.add_columns(batch)
    return reached
