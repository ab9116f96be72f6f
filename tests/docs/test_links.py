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


def test_every_page_is_listed_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link.target.partition("#")[0]).resolve() for link in links(index)}
    missing = [name_of(page) for page in PAGES if ROOT / "docs" in page.parents and page != index and page not in listed]
    assert missing == []
