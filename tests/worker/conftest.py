"""The kinds of stores, for what workers do in them."""

from tests.storage.conftest import store

__all__ = ["store"]
