"""Reading many references with few requests: neighbouring ranges of an object are read together."""

from collections.abc import Iterable, Iterator

from pachyderm_dagster.storage.objects import Ref, StoredRanges, get_ref

WINDOW_BYTES = 8 * 1024 * 1024
_GAP_BYTES = 64 * 1024


def read_ranges(store: StoredRanges, refs: Iterable[Ref], window_bytes: int = WINDOW_BYTES) -> Iterator[memoryview]:
    """The bytes of each reference, in the order given, read ahead by at most `window_bytes` (or one range, if that is longer).

    Ranges are joined while they follow one another in the same object with gaps of at most 64 KiB. Raises as `ObjectStore.get_range` does.
    """
    for window, members in _windows(refs, window_bytes):
        data = memoryview(get_ref(store, window))
        for ref in members:
            start = ref.offset - window.offset
            yield data[start : start + ref.length]


def _windows(refs: Iterable[Ref], window_bytes: int) -> Iterator[tuple[Ref, list[Ref]]]:
    members: list[Ref] = []
    end = 0
    for ref in refs:
        if members:
            first = members[0]
            near = ref.object == first.object and first.offset <= ref.offset <= end + _GAP_BYTES
            if near and ref.offset + ref.length - first.offset <= window_bytes:
                members.append(ref)
                end = max(end, ref.offset + ref.length)
                continue
            yield Ref(first.object, first.offset, end - first.offset), members
        members = [ref]
        end = ref.offset + ref.length
    if members:
        first = members[0]
        yield Ref(first.object, first.offset, end - first.offset), members
