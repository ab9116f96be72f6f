"""How streams are cut into parts of whole records, and what the parts are called."""

import csv
import io
import json
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pfs import splitting
from pachyderm_dagster.pfs.filesets import FileSet, Layer
from pachyderm_dagster.pfs.merging import merge
from pachyderm_dagster.pfs.paths import path_of
from pachyderm_dagster.pfs.records import CsvRecords, JsonRecords, Lines, Records
from pachyderm_dagster.pfs.splitting import Split, SplitKind, put_split
from pachyderm_dagster.storage.content import ContentReader, ContentWriter
from pachyderm_dagster.storage.open_store import open_store
from pachyderm_dagster.storage.rows import contents_of
from pachyderm_dagster.storage.trees import FILE_ROWS, Trees

DUMP = b"""-- PostgreSQL database dump
SET client_encoding = 'UTF8';

CREATE TABLE public.cars (name text, price integer);

COPY public.cars (name, price) FROM stdin;
Audi\t52642
Skoda\t9000
Volvo\t29000
\\.

ALTER TABLE ONLY public.cars ADD CONSTRAINT cars_pkey PRIMARY KEY (name);
"""


class Repo:
    """One directory tree that streams are applied to."""

    def __init__(self) -> None:
        self.store = open_store("memory://")
        self.trees, self.reader = Trees(self.store, FILE_ROWS), ContentReader(self.store)
        self.root = self.trees.empty

    def stage(self, data: bytes, split: Split, directory: str = "/d", *, overwrite: bool = False) -> list[Layer]:
        with ContentWriter(self.store) as writer:
            files = FileSet(writer)
            if overwrite:
                files.delete_directory(directory)
            put_split(files, directory, io.BytesIO(data), split, "data")
            return files.layers()

    def apply(self, layers: Sequence[Layer]) -> None:
        with ContentWriter(self.store) as writer:
            self.root = merge(self.trees, self.reader, writer, self.root, layers)

    def put(self, path: str, data: bytes) -> None:
        with ContentWriter(self.store) as writer:
            files = FileSet(writer)
            files.put_bytes(path, data)
            layers = files.layers()
        self.apply(layers)

    @property
    def files(self) -> dict[str, bytes]:
        rows = self.trees.table(self.root)
        return {path_of(key): self.reader.read(content) for key, content in zip(rows.column("key").to_pylist(), contents_of(rows), strict=True)}


def parts(data: bytes, split: Split) -> list[bytes]:
    """The contents of the parts, which are to be named by numbers from 0 on."""
    repo = Repo()
    repo.apply(repo.stage(data, split))
    files = repo.files
    assert list(files) == [f"/d/{number:016x}" for number in range(len(files))]
    return list(files.values())


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (Split(SplitKind.LINE), [b"one\n", b"\n", b"three\n", b"four"]),
        (Split(SplitKind.LINE, records=2), [b"one\n\n", b"three\nfour"]),
        (Split(SplitKind.LINE, records=3), [b"one\n\nthree\n", b"four"]),
        (Split(SplitKind.LINE, records=9), [b"one\n\nthree\nfour"]),
        (Split(SplitKind.LINE, size=4), [b"one\n", b"\nthree\n", b"four"]),
        (Split(SplitKind.LINE, size=5), [b"one\n\n", b"three\n", b"four"]),
        (Split(SplitKind.LINE, size=6), [b"one\n\nthree\n", b"four"]),
        (Split(SplitKind.LINE, records=1, size=100), [b"one\n", b"\n", b"three\n", b"four"]),
        (Split(SplitKind.LINE, records=3, size=5), [b"one\n\n", b"three\n", b"four"]),
        (Split(SplitKind.LINE, header_records=1), [b"one\n\n", b"one\nthree\n", b"one\nfour"]),
        (Split(SplitKind.LINE, records=2, header_records=1), [b"one\n\nthree\n", b"one\nfour"]),
        (Split(SplitKind.LINE, header_records=4), []),  # all of it is header
    ],
)
def test_lines_are_counted_and_measured(split: Split, expected: list[bytes]) -> None:
    assert parts(b"one\n\nthree\nfour", split) == expected


def test_header_that_is_longer_than_the_file_is_refused() -> None:
    with pytest.raises(InvalidError, match="has 4 records, of which the first 5") as caught:
        parts(b"one\n\nthree\nfour", Split(SplitKind.LINE, header_records=5))
    assert caught.value.code == "split-invalid"


def test_nothing_has_no_parts() -> None:
    assert parts(b"", Split(SplitKind.LINE, header_records=5)) == []
    assert [parts(b"", Split(kind)) for kind in (SplitKind.LINE, SplitKind.CSV, SplitKind.JSON)] == [[], [], []]


def test_csv_keeps_quoted_line_ends_and_repeats_its_header() -> None:
    data = b'name,text\r\na,"one\ntwo"\r\nb,"say ""hi""\n"\r\nc,"",\r\nd,x'
    rows = [b'a,"one\ntwo"\r\n', b'b,"say ""hi""\n"\r\n', b'c,"",\r\n', b"d,x"]
    assert parts(data, Split(SplitKind.CSV, header_records=1)) == [b"name,text\r\n" + row for row in rows]
    assert parts(data, Split(SplitKind.CSV, records=3)) == [b"name,text\r\n" + rows[0] + rows[1], rows[2] + rows[3]]


def test_a_quote_within_a_plain_csv_field_is_text() -> None:
    assert parts(b'5" disk,"a\nb"\n3" disk,c\nx,y"z\n', Split(SplitKind.CSV)) == [b'5" disk,"a\nb"\n', b'3" disk,c\n', b'x,y"z\n']


def test_a_csv_file_may_begin_with_a_byte_order_mark() -> None:
    assert parts(b'\xef\xbb\xbf"a\nb",c\nd\n', Split(SplitKind.CSV)) == [b'\xef\xbb\xbf"a\nb",c\n', b"d\n"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"{}{}{}", [b"{}", b"{}", b"{}"]),
        (b'{"a": [1, {"b": 2}]}\n[3]\n"x"\n4 true\tnull', [b'{"a": [1, {"b": 2}]}', b"[3]", b'"x"', b"4", b"true", b"null"]),
        (b'{"a": "}{\\"]"}{"b": "\\\\"}', [b'{"a": "}{\\"]"}', b'{"b": "\\\\"}']),
        (b'1"a"2[3]4', [b"1", b'"a"', b"2", b"[3]", b"4"]),
        (b'\n {\n "a": 1\n}\n\n', [b'{\n "a": 1\n}']),
        (b"-1.5e+3", [b"-1.5e+3"]),
    ],
)
def test_json_values_need_nothing_between_them(data: bytes, expected: list[bytes]) -> None:
    assert parts(data, Split(SplitKind.JSON)) == expected


def test_json_values_of_one_part_keep_what_is_between_them() -> None:
    assert parts(b"{}\n{} 1\n2", Split(SplitKind.JSON, records=2)) == [b"{}\n{}", b"1\n2"]


def test_a_dump_has_its_header_and_footer_in_every_part() -> None:
    header, footer = DUMP[: DUMP.index(b"Audi")], DUMP[DUMP.index(b"\\.") :]
    rows = [b"Audi\t52642\n", b"Skoda\t9000\n", b"Volvo\t29000\n"]
    assert parts(DUMP, Split(SplitKind.SQL)) == [header + row + footer for row in rows]
    assert parts(DUMP, Split(SplitKind.SQL, records=2)) == [header + rows[0] + rows[1] + footer, header + rows[2] + footer]
    assert parts(header + footer, Split(SplitKind.SQL)) == []


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b'a,"b\nc\n', SplitKind.CSV, "nothing closes"),
        (b'{"a": 1', SplitKind.JSON, "ends within"),
        (b'"abc', SplitKind.JSON, "ends within"),
        (b"{}}", SplitKind.JSON, "byte 2 closes a bracket"),
        (b"{},{}", SplitKind.JSON, "byte 2 has ','"),
        (b"INSERT INTO cars VALUES (1);\n", SplitKind.SQL, "has no `COPY"),
        (DUMP[: DUMP.index(b"\\.")], SplitKind.SQL, "ends within its rows"),
        (DUMP + DUMP, SplitKind.SQL, "more than one table"),
    ],
)
def test_what_cannot_be_split_is_refused(data: bytes, kind: SplitKind, says: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parts(data, Split(kind))
    assert caught.value.code == "split-invalid"
    assert caught.value.message.startswith("data")
    assert says in caught.value.message


def test_numbers_go_on_where_the_directory_ends() -> None:
    repo, split = Repo(), Split(SplitKind.LINE)
    repo.apply(repo.stage(b"a\nb\n", split))
    repo.apply(repo.stage(b"c\n", split))
    assert repo.files == {"/d/0000000000000000": b"a\n", "/d/0000000000000001": b"b\n", "/d/0000000000000002": b"c\n"}
    repo.apply(repo.stage(b"x\n", split, overwrite=True))
    assert repo.files == {"/d/0000000000000000": b"x\n"}


def test_two_who_append_at_once_both_keep_their_parts() -> None:
    repo, split = Repo(), Split(SplitKind.LINE)
    one, other = repo.stage(b"a\nb\n", split), repo.stage(b"c\n", split)
    repo.apply([*one, *other])
    assert list(repo.files.values()) == [b"a\n", b"b\n", b"c\n"]
    apart = Repo()
    apart.store, apart.trees, apart.reader = repo.store, repo.trees, repo.reader
    apart.apply(other)
    apart.apply([Layer.decode(layer.encode()) for layer in one])
    assert list(apart.files.values()) == [b"c\n", b"a\n", b"b\n"]


@pytest.mark.parametrize("name", ["notes", "0000000000000001x", "ffff", "0readme"])
def test_other_files_of_the_directory_do_not_count(name: str) -> None:
    repo, split = Repo(), Split(SplitKind.LINE)
    repo.apply(repo.stage(b"a\nb\n", split))
    repo.put(f"/d/{name}", b"")
    repo.apply(repo.stage(b"c\n", split))
    assert repo.files["/d/0000000000000002"] == b"c\n"


def test_the_top_may_hold_parts() -> None:
    repo, split = Repo(), Split(SplitKind.LINE)
    repo.apply(repo.stage(b"a\n", split, "/"))
    repo.apply(repo.stage(b"b\n", split, "/"))
    assert repo.files == {"/0000000000000000": b"a\n", "/0000000000000001": b"b\n"}


def in_blocks(records: Records, data: bytes, size: int) -> list[int]:
    """Where records end in a stream that comes in small blocks."""
    found = [at + end for at in range(0, len(data), size) for end in records.ends(data[at : at + size]).tolist()]
    records.finish()
    return found


@given(st.lists(st.lists(st.text("ab\n\",' \r"), min_size=1), min_size=1), st.integers(1, 20))
def test_csv_records_end_where_a_csv_reader_says(rows: list[list[str]], size: int) -> None:
    ends, out = [], io.StringIO(newline="")
    for row in rows:
        csv.writer(out, lineterminator="\n").writerow(row)
        ends.append(len(out.getvalue()))
    assert in_blocks(CsvRecords("data"), out.getvalue().encode(), size) == ends


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text('a"\\{}[],: \n')),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text('a"\\{}', max_size=2), inner, max_size=3)),
    max_leaves=6,
)


@given(st.lists(st.tuples(VALUES, st.sampled_from([" ", "\n", "\r\n\t"])), min_size=1), st.integers(1, 20))
def test_json_values_end_where_they_were_written(values: list[tuple[object, str]], size: int) -> None:
    ends, data = [], ""
    for value, space in values:
        data += json.dumps(value)
        ends.append(len(data))
        data += space
    assert in_blocks(JsonRecords("data"), data.encode(), size) == ends


@given(st.lists(st.text("ab\n")).map("".join), st.integers(1, 9), st.integers(0, 3), st.integers(0, 9), st.integers(0, 2))
def test_parts_are_what_counting_line_by_line_gives(text: str, block: int, records: int, size: int, header: int) -> None:
    lines = text.encode().splitlines(keepends=True)
    expected = list(by_the_line(lines[header:], records, size))
    split = Split(SplitKind.LINE, records, size, header)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "_BLOCK_BYTES", block)
        if 0 < len(lines) < header:
            with pytest.raises(InvalidError, match=f"has {len(lines)} records, of which the first {header} are to be a header"):
                parts(text.encode(), split)
        else:
            assert parts(text.encode(), split) == [b"".join([*lines[:header], part]) for part in expected]


def by_the_line(lines: list[bytes], records: int, size: int) -> Iterator[bytes]:
    part: list[bytes] = []
    for line in lines:
        part.append(line)
        if (size and len(b"".join(part)) >= size) or (records and len(part) >= records) or not (size or records):
            yield b"".join(part)
            part = []
    if part:
        yield b"".join(part)


def test_lines_end_behind_their_line_break() -> None:
    assert in_blocks(Lines(), b"a\n\nb", 2) == [2, 3]
