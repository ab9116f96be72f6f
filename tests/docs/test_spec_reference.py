"""docs/reference/pipeline-spec.md is what the code says now."""

from tests.docs import spec_reference


def test_page_of_fields_is_made_from_the_code() -> None:
    assert spec_reference.PAGE.read_text() == spec_reference.written(), "run `python -m tests.docs.spec_reference`"
