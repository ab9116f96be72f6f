"""How ids are made: BLAKE3 over a tagged, length-prefixed encoding.

Every id that is stored anywhere comes from `digest`; changing this module is a change of stored format (docs/design/0001).
"""

from collections.abc import Iterable
from typing import TypeAlias

from blake3 import blake3

Buffer: TypeAlias = bytes | bytearray | memoryview
DIGEST_BYTES = 32


def content_digest(data: Buffer) -> bytes:
    """The id of plain bytes: BLAKE3 of them, so that `b3sum` prints the same. 32 bytes."""
    return blake3(data).digest()


def digest(tag: str, parts: Iterable[Buffer]) -> bytes:
    """The id of a structure: BLAKE3 over the tag and then each part, all length-prefixed (8 bytes, little endian). 32 bytes.

    The tag keeps ids of different kinds apart, the lengths keep `("ab", "c")` and `("a", "bc")` apart.
    """
    hasher = blake3()
    for part in (tag.encode(), *parts):
        view = memoryview(part)
        hasher.update(view.nbytes.to_bytes(8, "little"))
        hasher.update(view)
    return hasher.digest()
