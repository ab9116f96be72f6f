"""docs/reference/pipeline-spec.md and argo.md are what the code says now."""

from tests.docs import argo_reference, spec_reference


def test_page_of_fields_is_made_from_the_code() -> None:
    assert spec_reference.PAGE.read_text() == spec_reference.written(), "run `python -m tests.docs.spec_reference`"


def test_page_of_fields_of_workflows_is_made_from_the_code() -> None:
    assert argo_reference.PAGE.read_text() == argo_reference.written(), "run `python -m tests.docs.argo_reference`"
