#!/usr/bin/env python3
"""Counts the words of every file in one folder: `count_words.py FROM TO` writes a file of the same name to the other folder, the most frequent words first.

Needs nothing but Python itself, as a program in any language would do that reads files and writes files.
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


def main(source: str, target: str) -> None:
    for text in sorted(folder(source).iterdir()):
        counts = Counter(WORD.findall(text.read_text(encoding="utf-8").lower()))
        lines = [f"{count} {word}\n" for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        (folder(target) / text.name).write_text("".join(lines), encoding="utf-8")
        print(f"{text.name}: {counts.total()} words, {len(counts)} different ones")


def folder(path: str) -> Path:
    """The folder; where the system does not let /pfs be made, it is another one, which `PFS_ROOT` names."""
    root = os.environ.get("PFS_ROOT", "/pfs")
    return Path(root + path.removeprefix("/pfs")) if path.startswith("/pfs/") else Path(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
