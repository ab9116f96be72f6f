import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from pachyderm_dagster.errors import InvalidError
from pachyderm_dagster.pps.documents import read_documents


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        pytest.param('{"a": 1}', [{"a": 1}], id="json"),
        pytest.param('\ufeff {"a": 1}\n{"b": 2}{"c": 3}\n', [{"a": 1}, {"b": 2}, {"c": 3}], id="json after json"),
        pytest.param('[{"a": 1}, {"b": 2}]', [{"a": 1}, {"b": 2}], id="list"),
        pytest.param("a: 1\n", [{"a": 1}], id="yaml"),
        pytest.param("---\na: 1\n---\n---\n- b: 2\n- c: 3\n...\n", [{"a": 1}, {"b": 2}, {"c": 3}], id="yaml documents"),
        pytest.param("{a: 1, b: [x]}", [{"a": 1, "b": ["x"]}], id="yaml in braces"),
        pytest.param("# a comment\na: {b: null, c: ~, d: }\n", [{"a": {"b": None, "c": None, "d": None}}], id="nothing in yaml"),
    ],
)
def test_documents_are_found(text: str, documents: list[object]) -> None:
    assert read_documents(text, "f") == documents


def test_plain_yaml_values_are_those_of_yaml_1_2() -> None:
    text = "[on, no, 12:30, 2020-01-01T00:00:00Z, 010, 0x1F, 1.5, 1e3, '1', true, 1_000]"
    assert read_documents(text, "f") == ["on", "no", "12:30", "2020-01-01T00:00:00Z", 10, 31, 1.5, 1000.0, "1", True, "1_000"]


def test_yaml_values_may_be_shared() -> None:
    assert read_documents("a: &x {b: 1}\nc:\n  <<: *x\n  d: 2\n", "f") == [{"a": {"b": 1}, "c": {"b": 1, "d": 2}}]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 8))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no pipeline spec in it"),
        ("---\n", "no pipeline spec in it"),
        ("[]", "no pipeline spec in it"),
        ('{"a": 1,}}', "not JSON: .* at line 1, column"),
        ('{"a": 1}\n{"b" 2}', "not JSON: .* at line 2, column 6"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' is given twice"),
        ("a: 1\nb: {c: 1}\na: 2\n", "the key 'a' is given twice .*, at line 3, column 1"),
        ("a: [1\nb: 2", "not YAML: .* at line 2"),
        ("a: !!python/object/apply:os.getcwd []", "not YAML: .*python"),
        ('{"a": NaN}', "NaN is no number"),
        ("a: &a [*a]", "nested too deeply"),
        ("[" * 100_000, "nested too deeply"),
        (BOMB, "nested too deeply, or too large"),
        ('{"a": ' + "9" * 5000 + "}", r"999\.\.\. has too many digits, at line 1, column 7"),
        ("a:\n- " + "9" * 5000, r"999\.\.\.' is no !!int that can be read, at line 2, column 3"),
        ('\na: !!bool "x"', "'x' is no !!bool that can be read, at line 2, column 4"),
        ('\na: !!int "x"', "'x' is no !!int that can be read, at line 2, column 4"),
        ("a: !!float x", "'x' is no !!float that can be read, at line 1"),
        ("a: !!timestamp x", "'x' is no !!timestamp that can be read, at line 1"),
        ("a: !!timestamp 2020-13-45", "'2020-13-45' is no !!timestamp that can be read, at line 1"),
        ("a: !!map xy", "'xy' is no object, at line 1"),
    ],
)
def test_text_that_does_not_read_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidError, match=rf"^f: .*{problem}.*\[spec-invalid\]$"):
        read_documents(text, "f")


@given(st.text(alphabet="{}[]:,-#&*!|>'\"\\ \nab10~<%@`\t\x00"))
def test_any_text_reads_or_is_refused(text: str) -> None:
    try:
        assert read_documents(text, "f")
    except InvalidError as error:
        event(error.code)
