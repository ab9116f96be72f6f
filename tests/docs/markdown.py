"""What the documentation tests need to know of a Markdown file: its code blocks, its links and its headings."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
_FOLDERS = ("docs", "deploy", "kubeflow", "definitions")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in _FOLDERS for page in ROOT.glob(f"{folder}/**/*.md"))])
EXCUSE = re.compile(r"<!-- not run: (?P<reason>\S.*?) -->")
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, the line it starts on and, if a comment right above it says so, why it is not run."""

    language: str
    text: str
    line: int
    excuse: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A link or picture: what it points to and the line of the paragraph that it is in."""

    target: str
    line: int


def name_of(page: Path) -> str:
    """A page's path in the repository, as a test's id."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[Block]:
    """The page's fenced blocks, in order."""
    excuse = None
    for token in _PARSER.parse(page.read_text()):
        if token.type == "fence":
            yield Block(token.info.split()[0] if token.info else "", token.content, _line(token), excuse)
        found = EXCUSE.search(token.content) if token.type == "html_block" else None
        excuse = found["reason"] if found else None


def links(page: Path) -> Iterator[Link]:
    """The page's links and pictures, in order."""
    for token in _PARSER.parse(page.read_text()):
        for child in token.children or ():
            target = child.attrs.get("href") or child.attrs.get("src")
            if isinstance(target, str):
                yield Link(target, _line(token))


def anchors(page: Path) -> set[str]:
    """What a link may name after `#`: the page's headings as they are shown on the web."""
    tokens = _PARSER.parse(page.read_text())
    titles = [after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def table_rows(page: Path) -> list[list[str]]:
    """The cells of every table row of the page, heading rows left out, as Markdown text."""
    rows: list[list[str]] = []
    in_body = False
    for token in _PARSER.parse(page.read_text()):
        if token.type in ("tbody_open", "tbody_close"):
            in_body = token.type == "tbody_open"
        elif token.type == "tr_open" and in_body:
            rows.append([])
        elif token.type == "inline" and in_body:
            rows[-1].append(token.content)
    return rows


def _line(token: Token) -> int:
    return token.map[0] + 1 if token.map else 0
