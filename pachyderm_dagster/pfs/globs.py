"""Globs as Pachyderm reads them: which paths match, what the groups captured, how far a scan must look.

The dialect is ohmyglob's with `/` as separator: `*`, `**`, `?`, classes, `{a,b}` and the capturing groups `(p)`, `@(p|q)`, `*(p)`, `+(p)`, `?(p)`, `!(p)`.
A pattern holds for the whole path. What may surprise:

- `!(p)` at the end refuses what is p; with text or `*` anywhere behind it, it refuses whatever begins with p.
- A class never matches `/`, not even a negated one (ohmyglob's negated class does).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs.glob_checking import clean_pattern, template_parts
from pachyderm_dagster.pfs.glob_matching import Matcher
from pachyderm_dagster.pfs.glob_syntax import Choice, Class, Group, Node, Pattern, Run, Text, parse_pattern, walk
from pachyderm_dagster.pfs.paths import ROOT

# With more names than this, looking at all that are there is quicker.
_MOST_TEXTS = 64


@dataclass(frozen=True, slots=True)
class Level:
    """What one element of a path must match.

    Attributes:
        texts: the elements that match, in order, when the pattern says them one by one here (as text and `{a,b}` do), else None.
        prefix: what the element begins with.
    """

    texts: tuple[str, ...] | None
    prefix: str
    _matcher: Matcher

    def match(self, names: pa.StringArray) -> pa.BooleanArray:
        """Which of these elements match."""
        return self._matcher.match(names)


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed pattern.

    Attributes:
        pattern: the cleaned text: one leading `/`, none at the end.
        literal_prefix: what every matching path begins with.
        levels: one for every element of a path, when all matches have that many; so a search need not look deeper. None when `**` or a group can match a `/`.
            Empty for `/`, which matches the root alone.
        group_count: how many groups capture.
    """

    pattern: str
    literal_prefix: str
    levels: tuple[Level, ...] | None
    group_count: int
    _matcher: Matcher

    @staticmethod
    def parse(pattern: str) -> "Glob":
        """Reads a pattern; a missing leading `/` is added and a trailing one dropped.

        Raises:
            InvalidError: `glob-invalid`, naming pattern, position and problem.
        """
        text = clean_pattern(pattern)
        nodes = parse_pattern(text)
        levels = _levels(nodes)
        try:
            return Glob(
                pattern=text or ROOT,
                literal_prefix=_text_at_start(nodes) or ROOT,
                levels=None if levels is None else tuple(Level(_texts(level), _text_at_start(level), Matcher.of(level)) for level in levels),
                group_count=sum(1 for node in walk(nodes) if isinstance(node, Group)),
                _matcher=Matcher.of(nodes),
            )
        except pa.ArrowInvalid as error:
            raise InvalidError("glob-invalid", f"glob of {len(text)} characters from {text[:40]!r} is too large to match; write a shorter one") from error

    def match_paths(self, paths: pa.StringArray | Sequence[str]) -> pa.BooleanArray:
        """Which of these cleaned paths (of files or directories) match, in their order."""
        column = paths if isinstance(paths, pa.Array | pa.ChunkedArray) else pa.array(paths, pa.string())
        # `/` alone matches the root, and nothing else does: `/*` wants a name, though perhaps an empty one, behind the slash of a path.
        return self._matcher.match(pc.if_else(pc.equal(column, ROOT), "", column))

    def captures(self, path: str) -> tuple[str, ...] | None:
        """The whole path and then what each group captured; None when the path does not match. A group that took no part is empty."""
        captured = self._matcher.captures("" if path == ROOT else path)
        return None if captured is None else (path, *captured[1:])

    def expand(self, template: str, path: str) -> str:
        """`template` with `$1` or `${1}` replaced by what a group captured in `path`, `$0` by the path and `$$` by `$`.

        A `$` before anything else stays as it is; a group that does not exist is empty.

        Raises:
            InvalidError: `glob-mismatch` when the path does not match.
        """
        found: str = self.expand_all(template, pa.chunked_array([[path]], pa.string()))[0].as_py()
        return found

    def expand_all(self, template: str, paths: pa.ChunkedArray) -> pa.ChunkedArray:
        """`expand` for many paths at once."""
        captured = self._matcher.captures_of(pc.if_else(pc.equal(paths, ROOT), "", paths).combine_chunks())
        if captured[0].null_count:
            path = paths.filter(pc.is_null(captured[0]))[0].as_py()
            raise InvalidError("glob-mismatch", f"path {path!r} does not match glob {self.pattern!r}, so {template!r} has no value; expand paths that match")
        columns = [paths.combine_chunks(), *captured[1:]]
        pieces = [piece if isinstance(piece, str) else columns[piece] for piece in template_parts(template) if isinstance(piece, str) or piece < len(columns)]
        filled = pc.binary_join_element_wise(*pieces, pa.scalar(""), "")
        return pa.chunked_array([filled if isinstance(filled, pa.Array) else pa.repeat(filled, len(paths))], pa.string())


def _text_at_start(nodes: Pattern) -> str:
    return nodes[0].text if nodes and isinstance(nodes[0], Text) else ""


def _texts(nodes: Pattern) -> tuple[str, ...] | None:
    """All texts that match, sorted, unless they are too many to be looked up one by one."""
    found = {""}
    for node in nodes:
        endings = _endings(node)
        if endings is None or len(found) * len(endings) > _MOST_TEXTS:
            return None
        found = {text + ending for text in found for ending in endings}
    return tuple(sorted(found))


def _endings(node: Node) -> set[str] | None:
    """What a node matches, if that can be listed."""
    match node:
        case Text(text):
            return {text}
        case Choice(branches) | Group(quantifier="@", branches=branches):
            texts = [_texts(branch) for branch in branches]
            return None if None in texts else {text for several in texts for text in several or ()}
        case Class(ranges, negated=False) if sum(high - low + 1 for low, high in ranges) <= _MOST_TEXTS:
            return {chr(point) for low, high in ranges for point in range(low, high + 1)}
    return None


def _levels(nodes: Pattern) -> list[Pattern] | None:
    """The pattern cut at its slashes, or None when a group or a `**` can match one."""
    levels: list[list[Node]] = []
    for node in nodes:
        if isinstance(node, Text):
            end_of_current, *following = node.text.split("/")
            if end_of_current:
                levels[-1].append(node if not following else Text(end_of_current))
            levels += [[Text(name)] if name else [] for name in following]
        elif any((isinstance(inner, Text) and "/" in inner.text) or (isinstance(inner, Run) and inner.deep) for inner in walk((node,))):
            return None
        else:
            levels[-1].append(node)
    return [tuple(level) for level in levels]
