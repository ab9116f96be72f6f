"""The documentation hangs together: links lead somewhere, pages can be found."""

from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.markdown import PAGES, ROOT, anchors, links, name_of


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    broken = []
    for link in links(page):
        if "://" in link.target or link.target.startswith("mailto:"):
            continue
        path, _, anchor = unquote(link.target).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append((link.line, link.target))
    assert broken == []


def test_every_page_is_listed_in_an_index() -> None:
    indexes = (ROOT / "docs" / "README.md", ROOT / "docs" / "design" / "README.md")
    listed = {(index.parent / link.target.partition("#")[0]).resolve() for index in indexes for link in links(index)}
    missing = [name_of(page) for page in PAGES if ROOT / "docs" in page.parents and page not in listed and page != indexes[0]]
    assert missing == []
