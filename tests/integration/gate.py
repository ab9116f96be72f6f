"""User code that waits until a test lets it go on."""

import os

from tests.integration.home import Home


class Gate:
    """A pipeline whose code waits at a gate."""

    def __init__(self, home: Home) -> None:
        self._reached, self._open = home.workspace.settings.home / "reached", home.workspace.settings.home / "open"
        os.mkfifo(self._reached)
        home.commit("images@master", {"/a": "1"})
        wait = f"while ! test -e {self._open}; do sleep 0.05; done"
        home.pipeline("edges", "images", code=f"test -e {self._open} || {{ echo here > {self._reached}; {wait}; }}; cp /pfs/images/* /pfs/out/")

    def wait(self) -> None:
        """Returns when the code is there."""
        assert self._reached.read_text() == "here\n"

    def open(self) -> None:
        self._open.touch()
