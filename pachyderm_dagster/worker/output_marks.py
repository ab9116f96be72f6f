"""When output came: which byte at which time, in a bounded number of marks."""

MOST_MARKS = 256
FIRST_STEP_MS = 100


class Marks:
    """Notes of a growing output at most one byte each tenth of a second; when there are many marks, every other goes and the step doubles."""

    def __init__(self, most: int = MOST_MARKS) -> None:
        self._marks: list[tuple[int, int]] = []
        self._most = most
        self._step = FIRST_STEP_MS

    def add(self, offset: int, milliseconds: int) -> None:
        """The byte at `offset` came so long after the start; both only grow."""
        if self._marks and milliseconds - self._marks[-1][1] < self._step:
            return
        self._marks.append((offset, milliseconds))
        if len(self._marks) > self._most:
            del self._marks[1::2]
            self._step *= 2

    def kept(self, left_out: range, gap: int) -> tuple[tuple[int, int], ...]:
        """The marks of output of which the bytes in `left_out` were replaced by `gap` others: by place in what is kept, without those of what is not."""
        shift = gap - len(left_out)
        return tuple((offset if offset < left_out.start else offset + shift, time) for offset, time in self._marks if offset not in left_out)
