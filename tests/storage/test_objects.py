"""Keys and ids of objects."""

import pytest

from pachyderm_dagster.storage.objects import find_object_id, object_key

ID = bytes(range(32))
NAME = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"


def test_id_is_found_in_the_key_of_an_object() -> None:
    assert object_key(ID) == f"objects/00/{NAME}"
    assert find_object_id(f"objects/00/{NAME}") == ID


@pytest.mark.parametrize(
    "key",
    [
        f"objects/01/{NAME}",
        f"objects/{NAME}",
        f"structure/00/{NAME}",
        f"objects/00/{NAME.upper()}",
        f"objects/00/{NAME[:-2]}",
        f"objects/00/{NAME[:-1]} ",
        f"objects/00/{NAME[:-3]}.gz",
        f"objects/zz/{'z' * 64}",
        f"objects/00/{NAME}\n",
        "",
    ],
)
def test_what_somebody_else_put_beside_objects_is_none(key: str) -> None:
    assert find_object_id(key) is None
