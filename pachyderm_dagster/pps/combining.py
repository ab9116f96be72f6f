"""Which files of an input go together: its sets, from the leaves up, as bundles of file numbers."""

from dataclasses import dataclass, field

import numpy as np

from pachyderm_dagster.pps.batches import batch_ends
from pachyderm_dagster.pps.bundles import Bundles, Files, Keyed, concatenate, cross, cut, group, join, singles
from pachyderm_dagster.pps.input_files import InputFiles, KeyKind
from pachyderm_dagster.pps.inputs import CronInput, CrossInput, GroupInput, Input, JoinInput, Leaf, PfsInput, UnionInput


def bundles_of(input: Input, found: InputFiles) -> Bundles:
    """The files of each datum of an input. Sets are taken in the order in which they are given.

    Raises:
        InvalidError: `datums-too-many`.
    """
    return _Combining(found).bundles(input)


@dataclass(slots=True)
class _Combining:
    """The files at hand; their keys are read when a set asks for them."""

    found: InputFiles
    _known_keys: dict[KeyKind, Files] = field(default_factory=dict)

    def bundles(self, input: Input) -> Bundles:
        match input:
            case PfsInput() | CronInput():
                return self._leaf(input)
            case CrossInput():
                return cross([self.bundles(member) for member in input.members])
            case UnionInput():
                return concatenate([self.bundles(member) for member in input.members])
            case JoinInput():
                return join([self._keyed(member) for member in input.members])
            case GroupInput():
                files = np.unique(np.concatenate([self.bundles(member).files for member in input.members]))
                same = self.found.same()
                return group(files, self._keys("group_by")[files], None if same is None else same[files])

    def _leaf(self, leaf: Leaf) -> Bundles:
        number = self.found.number(leaf)
        first, table = int(self.found.starts[number]), self.found.tables[number]
        return singles(first, len(table)) if leaf.batch is None else cut(first, batch_ends(table, leaf.batch))

    def _keyed(self, member: Input) -> Keyed:
        """A member of a join gives its files, however it puts them together itself."""
        files = np.unique(self.bundles(member).files)
        return Keyed(files, self._keys("join_on")[files], self.found.outer()[files])

    def _keys(self, kind: KeyKind) -> Files:
        if kind not in self._known_keys:
            self._known_keys[kind] = self.found.keys(kind)
        return self._known_keys[kind]
