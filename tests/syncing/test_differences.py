"""What is declared against what there is."""

from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.syncing.differences import Action, Change, Thing, Wanted, changes_of

THINGS = [Thing(kind, name) for kind in ("pipeline", "repo", "WorkflowTemplate") for name in ("a", "b")]
things = st.sampled_from(THINGS)
texts = st.sampled_from(["one\n", "two\n"])


def test_difference_goes_from_what_is_there_to_what_is_declared() -> None:
    edges = Thing("pipeline", "edges")
    (change,) = changes_of({edges: Wanted("a: 1\nb: 2\n", "p.yaml")}, {edges: "a: 1\nb: 3\n"}, (), prune=False)
    difference = ("--- there/pipeline/edges", "+++ declared/pipeline/edges", "@@ -1,2 +1,2 @@", " a: 1", "-b: 3", "+b: 2")
    assert change == Change(action=Action.UPDATE, thing=edges, source="p.yaml", difference=difference)


@given(st.dictionaries(things, st.none() | texts), st.dictionaries(things, texts), st.sets(things), st.booleans())
def test_doing_the_changes_leaves_what_is_declared(
    wanted: dict[Thing, str | None],
    there: dict[Thing, str],
    owned: set[Thing],
    prune: bool,
) -> None:
    found = changes_of({thing: Wanted(text, "file") for thing, text in wanted.items()}, there, owned, prune=prune)
    after = dict(there)
    for change in found:
        if change.action in (Action.CREATE, Action.UPDATE):
            assert (change.thing in there) is (change.action is Action.UPDATE)
            after[change.thing] = wanted[change.thing] or ""
        elif change.action is Action.REMOVE:
            assert prune
            del after[change.thing]
    for thing in THINGS:
        if thing in wanted:
            text = wanted[thing]
            assert after[thing] == (text if text is not None else there.get(thing, ""))
        elif thing in owned and thing in there:
            assert (thing in after) is (not prune or thing.kind == "repo")
        else:
            assert after.get(thing) == there.get(thing)
