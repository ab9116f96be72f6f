from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.records import SERVER
from tests.sql.databases import KINDS, MYSQL, TestDatabase, new_database

_MISSING = {"postgresql": SERVER is None, "mysql": MYSQL is None}


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.skipif(_MISSING.get(kind, False), reason=f"needs a server of {kind}")) for kind in KINDS])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestDatabase]:
    with new_database(request.param, tmp_path) as opened:
        yield opened
