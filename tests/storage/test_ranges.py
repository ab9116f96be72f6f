"""Reading many references with few requests."""

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.codec import content_digest
from pachyderm_dagster.storage.objects import Ref, object_key
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.ranges import read_ranges
from tests.storage.faulty import CountingStore

DATA = {content_digest(name): bytes(range(256)) * 1000 for name in (b"one", b"two")}
ONE, TWO = DATA


def stored() -> CountingStore:
    store = CountingStore(open_store("memory://"))
    for own_id, data in DATA.items():
        store.put_new(object_key(own_id), data)
    store.reads = 0
    return store


references = st.builds(Ref, st.sampled_from([ONE, TWO]), st.integers(0, 200_000), st.integers(0, 50_000))


@given(st.lists(references), st.integers(1, 300_000))
def test_every_reference_gives_its_bytes_in_order(refs: list[Ref], window_bytes: int) -> None:
    expected = [DATA[ref.object][ref.offset : ref.offset + ref.length] for ref in refs]
    assert [bytes(piece) for piece in read_ranges(stored(), refs, window_bytes)] == expected


def test_neighbours_are_read_together() -> None:
    store = stored()
    refs = [Ref(ONE, offset, 900) for offset in range(0, 100_000, 1000)]
    assert len(list(read_ranges(store, refs))) == 100
    assert store.reads == 1


def test_windows_are_bounded() -> None:
    store = stored()
    refs = [Ref(ONE, offset, 1000) for offset in range(0, 100_000, 1000)]
    assert len(list(read_ranges(store, refs, window_bytes=10_000))) == 100
    assert (store.reads, store.bytes_read) == (10, 100_000)


def test_far_ranges_and_other_objects_are_read_by_themselves() -> None:
    store = stored()
    refs = [Ref(ONE, 0, 10), Ref(ONE, 200_000, 10), Ref(TWO, 200_010, 10), Ref(TWO, 0, 10)]
    assert len(list(read_ranges(store, refs))) == 4
    assert (store.reads, store.bytes_read) == (4, 40)


def test_nothing_is_read_before_it_is_asked_for() -> None:
    store = stored()
    pieces = read_ranges(store, [Ref(ONE, 0, 10), Ref(TWO, 0, 10)])
    assert store.reads == 0
    next(pieces)
    assert store.reads == 1
