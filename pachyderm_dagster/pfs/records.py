"""Finds where records end in a stream of blocks: lines, CSV records, JSON values. By the column, not byte by byte."""

import re
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pachyderm_dagster.errors import InvalidError

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_NEWLINE, _QUOTE, _BACKSLASH = b"\n"[0], b'"'[0], b"\\"[0]
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Before a quote that opens a CSV field; and the quote, since a doubled one closes and opens.
_BEFORE_FIELD = np.isin(np.arange(256), list(b',;\t|\r\n"'))
_STRUCTURE = np.isin(np.arange(256), list(b'"{}[]'))
_DEPTH = np.zeros(256, np.int64)
_DEPTH[list(b"{[")] = 1
_DEPTH[list(b"}]")] = -1
_VISIBLE = ~np.isin(np.arange(256), list(b" \t\r\n"))
_SCALAR = re.compile(rb"[-+.0-9A-Za-z]+")
_WORD = re.compile(rb"\S+")


class Records(Protocol):
    """Where the records of a stream end."""

    def ends(self, block: bytes) -> Positions:
        """The positions behind the records that end in the next block, rising. What is behind the last one belongs to a record of later blocks."""
        ...

    def finish(self) -> None:
        """The stream is over, with the last record.

        Raises:
            InvalidError: `split-invalid`, as `ends` may too.
        """
        ...


class Lines:
    """Lines; the last one may lack its line break."""

    def ends(self, block: bytes) -> Positions:
        return np.flatnonzero(_bytes(block) == _NEWLINE) + 1

    def finish(self) -> None:
        """Any line may be the last."""


class CsvRecords:
    """Lines, but for those that end within quotes. A quote in the middle of a field without quotes is text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._inside = False
        self._before = _NEWLINE
        self._position = 0

    def ends(self, block: bytes) -> Positions:
        data = _bytes(block)
        positions = np.flatnonzero((data == _NEWLINE) | (data == _QUOTE))
        is_quote = data[positions] == _QUOTE
        before = np.concatenate([np.array([self._before], np.uint8), data[:-1]])[positions]
        if self._position == 0 and block.startswith(_BYTE_ORDER_MARK):
            before[positions == len(_BYTE_ORDER_MARK)] = _NEWLINE
        inside = (np.cumsum(is_quote) - is_quote + self._inside) % 2 == 1
        if np.any(is_quote & ~inside & ~_BEFORE_FIELD[before]):
            inside = self._inside_one_by_one(is_quote.tolist(), before.tolist())
        elif len(positions):
            self._inside = bool(inside[-1] ^ is_quote[-1])
        self._before = int(data[-1])
        self._position += len(block)
        ends: Positions = positions[~is_quote & ~inside] + 1
        return ends

    def finish(self) -> None:
        if self._inside:
            raise InvalidError("split-invalid", f"{self._name}: a field opens a quote that nothing closes; correct it, or split by lines")

    def _inside_one_by_one(self, is_quote: list[bool], before: list[int]) -> npt.NDArray[np.bool_]:
        """Whether each quote and line break stands within quotes, where some quotes are only text."""
        found = []
        closed_just_now = False
        for quote, last in zip(is_quote, before, strict=True):
            found.append(self._inside)
            if not quote:
                closed_just_now = False
            elif self._inside:
                self._inside, closed_just_now = False, True
            else:
                self._inside = closed_just_now if last == _QUOTE else bool(_BEFORE_FIELD[last])
                closed_just_now = False
        return np.array(found, bool)


class JsonRecords:
    """JSON values, with white space between them or nothing. What is in them is not checked but for brackets and quotes."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._depth = 0
        self._in_string = False
        self._in_scalar = False
        self._backslashes = 0
        self._position = 0

    def ends(self, block: bytes) -> Positions:
        data = _bytes(block)
        positions = np.flatnonzero(_STRUCTURE[data])
        positions = positions[~self._escaped(block, data, positions)]
        found = data[positions]
        is_quote = found == _QUOTE
        in_string = (np.cumsum(is_quote) - is_quote + self._in_string) % 2 == 1
        depth = np.cumsum(np.where(in_string, 0, _DEPTH[found])) + self._depth
        if len(depth) and depth.min() < 0:
            raise self._invalid(int(positions[depth < 0][0]), "closes a bracket that nothing opened")
        is_end = (depth == 0) & np.where(is_quote, in_string, ~in_string & (_DEPTH[found] < 0))
        # Before each structural byte, and behind the last one: is it between values?
        outside = np.concatenate([[self._depth == 0 and not self._in_string], (depth == 0) & ~(in_string ^ is_quote)])
        scalars = self._scalar_ends(block, data, outside, np.concatenate([[0], positions + 1]), np.concatenate([positions, [len(data)]]))
        if len(positions):
            self._depth, self._in_string = int(depth[-1]), bool(in_string[-1] ^ is_quote[-1])
        self._position += len(block)
        ends = positions[is_end] + 1
        return np.sort(np.concatenate([ends, np.array(scalars, np.int64)])) if scalars else ends

    def finish(self) -> None:
        if self._depth or self._in_string:
            raise InvalidError("split-invalid", f"{self._name} ends within a JSON value; correct it, or split by lines")

    def _escaped(self, block: bytes, data: Bytes, positions: Positions) -> npt.NDArray[np.bool_]:
        """Which of these bytes follow an odd number of backslashes (within a string; elsewhere there are none)."""
        before, self._backslashes = self._backslashes, len(block) - len(block.rstrip(b"\\"))
        if self._backslashes == len(block):
            self._backslashes += before
        if not before and b"\\" not in block:
            return np.zeros(len(positions), bool)
        numbers = np.arange(len(data))
        # The last byte up to each that is no backslash; before the block, as many backslashes back as it ended with.
        last_other = np.maximum.accumulate(np.where(data == _BACKSLASH, -1 - before, numbers))
        run = positions - 1 - np.where(positions > 0, last_other[positions - 1], -1 - before)
        is_escaped: npt.NDArray[np.bool_] = run % 2 == 1
        return is_escaped

    def _scalar_ends(self, block: bytes, data: Bytes, outside: npt.NDArray[np.bool_], starts: Positions, stops: Positions) -> list[int]:
        """Where numbers, `true`, `false` and `null` end that stand by themselves, in the gaps between values."""
        ends = []
        if self._in_scalar and (stops[0] == 0 or not _VISIBLE[data[0]]):
            ends.append(0)
            self._in_scalar = False
        visible = np.concatenate([[0], np.cumsum(_VISIBLE[data])])
        busy = outside & (visible[stops] > visible[starts])
        for start, stop in zip(starts[busy].tolist(), stops[busy].tolist(), strict=True):
            for word in _WORD.finditer(block, start, stop):
                if not _SCALAR.fullmatch(word[0]):
                    raise self._invalid(word.start(), f"has {word[0][:20].decode(errors='replace')!r} between two values, which is no JSON")
                self._in_scalar = word.end() == len(block)
                if not self._in_scalar:
                    ends.append(word.end())
        return ends

    def _invalid(self, position: int, problem: str) -> InvalidError:
        return InvalidError("split-invalid", f"{self._name}: byte {self._position + position:,} {problem}; it is to be a stream of JSON values")


def _bytes(block: bytes) -> Bytes:
    return np.frombuffer(block, np.uint8)
