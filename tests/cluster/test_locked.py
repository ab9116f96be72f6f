"""What a part of the project needs of the lock."""

from collections.abc import Iterable

import pytest

from tests.cluster.errors import ClusterError
from tests.cluster.layers import REPOSITORY, WORKER_NEEDS
from tests.cluster.locked import needed, read_lock

LOCK = """\
numpy==2.4.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via
    #   pachyderm-dagster (pyproject.toml)
    #   pandas
pandas==3.0.1 \\
    --hash=sha256:cc
    # via pachyderm-dagster (pyproject.toml)
psycopg[binary]==3.2.1 \\
    --hash=sha256:dd
    # via pachyderm-dagster (pyproject.toml)
six==1.17.0 ; sys_platform == 'linux' \\
    --hash=sha256:ee
    # via python-dateutil
python-dateutil==2.9.0 \\
    --hash=sha256:ff
    # via pandas
"""


def names(requirements: Iterable[str]) -> list[str]:
    return [requirement.split("=")[0] for requirement in requirements]


def test_package_brings_what_it_needs_and_what_that_needs() -> None:
    assert names(needed(read_lock(LOCK), ["pandas"])) == ["numpy", "pandas", "six", "python-dateutil"]


def test_package_that_needs_nothing_comes_alone_with_its_digests() -> None:
    assert needed(read_lock(LOCK), ["numpy"]) == ["numpy==2.4.1 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb"]


def test_extra_is_no_part_of_a_name() -> None:
    assert set(read_lock(LOCK)) == {"numpy", "pandas", "psycopg", "six", "python-dateutil"}


def test_package_that_is_not_locked_is_refused() -> None:
    with pytest.raises(ClusterError, match="the lock has no package scipy"):
        needed(read_lock(LOCK), ["numpy", "scipy"])


def test_worker_needs_neither_dagster_nor_sql() -> None:
    found = " ".join(needed(read_lock((REPOSITORY / "requirements.lock").read_text()), WORKER_NEEDS))

    assert "pyarrow==" in found
    assert "dagster" not in found and "sqlalchemy" not in found
