"""Libraries for tables read and write versions through `pfs://`."""

from collections.abc import Iterator

import duckdb
import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pachyderm_dagster.client.client import Client
from pachyderm_dagster.client.filesystem import PfsFileSystem
from pachyderm_dagster.pfs.client import Pfs
from pachyderm_dagster.storage.content import ContentReader
from tests.storage.faulty import CountingStore

CARS = pa.table({"name": ["fiat", "opel", "audi"], "speed": [120, 140, 180]})


@pytest.fixture
def options(client: Client) -> dict[str, str]:
    return {"home": str(client.home)}


@pytest.fixture(autouse=True)
def forget_instances() -> Iterator[None]:
    """Closes what fsspec keeps of this test's home."""
    yield
    for kept in list(PfsFileSystem._cache.values()):
        kept.client.close()
    PfsFileSystem.clear_instance_cache()


def commits(client: Client) -> int:
    return len(client.list_commit("images@master"))


def test_pandas_reads_and_writes_csv(client: Client, options: dict[str, str]) -> None:
    frame = CARS.to_pandas()
    frame.to_csv("pfs://images@master/cars.csv", index=False, storage_options=options)
    assert client.get_file("images@master:/cars.csv") == b"name,speed\nfiat,120\nopel,140\naudi,180\n"
    pd.testing.assert_frame_equal(pd.read_csv("pfs://images@master/cars.csv", storage_options=options), frame, check_dtype=False)
    assert commits(client) == 1


def test_pandas_reads_and_writes_compressed_csv(client: Client, options: dict[str, str]) -> None:
    CARS.to_pandas().to_csv("pfs://images@master/cars.csv.gz", index=False, storage_options=options)
    assert client.get_file("images@master:/cars.csv.gz").startswith(b"\x1f\x8b")
    assert pd.read_csv("pfs://images@master/cars.csv.gz", storage_options=options)["speed"].sum() == 440


def test_pandas_reads_and_writes_parquet(client: Client, options: dict[str, str]) -> None:
    CARS.to_pandas().to_parquet("pfs://images@master/cars.parquet", storage_options=options)
    found = pd.read_parquet("pfs://images@master/cars.parquet", columns=["speed"], storage_options=options)
    assert found["speed"].tolist() == [120, 140, 180]
    assert commits(client) == 1


def test_pandas_reads_an_older_version(client: Client, options: dict[str, str]) -> None:
    for speed in (1, 2):
        client.put_file("images@master:/a.csv", f"speed\n{speed}\n".encode())
    assert pd.read_csv("pfs://images@master^/a.csv", storage_options=options)["speed"].tolist() == [1]


def test_polars_reads_and_writes(client: Client, fs: PfsFileSystem) -> None:
    with fs.transaction:
        with fs.open("images@master/cars.parquet", "wb") as file:
            pl.DataFrame(CARS).write_parquet(file)
        with fs.open("images@master/cars.csv", "wb") as file:
            pl.DataFrame(CARS).write_csv(file)
    assert commits(client) == 1
    with fs.open("images@master/cars.parquet") as file:
        assert pl.read_parquet(file, columns=["speed"])["speed"].to_list() == [120, 140, 180]
    with fs.open("images@master/cars.csv") as file:
        assert pl.read_csv(file)["name"].to_list() == ["fiat", "opel", "audi"]
    with fs.open("images@master/cars.parquet") as file:
        assert pl.scan_parquet(file).select("speed").collect()["speed"].to_list() == [120, 140, 180]
    assert pq.read_table("images@master/cars.parquet", filesystem=fs).to_pylist() == CARS.to_pylist()
    dataset = ds.dataset("images@master/cars.parquet", filesystem=fs)
    assert pl.scan_pyarrow_dataset(dataset).filter(pl.col("speed") > 130).collect()["name"].to_list() == ["opel", "audi"]


def test_arrow_writes_a_dataset_into_one_commit_and_reads_it(client: Client, fs: PfsFileSystem) -> None:
    table = pa.table({"year": [2024, 2024, 2025], "speed": [1, 2, 3]})
    with fs.transaction:
        ds.write_dataset(table, "images@master/cars", filesystem=fs, format="parquet", partitioning=["year"], partitioning_flavor="hive")
    assert commits(client) == 1
    assert fs.find("images@master") == ["images@master/cars/year=2024/part-0.parquet", "images@master/cars/year=2025/part-0.parquet"]
    dataset = ds.dataset("images@master/cars", filesystem=fs, partitioning="hive")
    assert dataset.to_table(filter=pc.field("year") == 2025).column("speed").to_pylist() == [3]
    assert pq.read_table("images@master/cars", filesystem=fs, filters=[("year", "=", 2024)]).column("speed").to_pylist() == [1, 2]


def test_arrow_replaces_partitions(client: Client, fs: PfsFileSystem) -> None:
    for speed in (1, 2):
        with fs.commit("images@master"):
            ds.write_dataset(
                pa.table({"year": [2024], "speed": [speed]}),
                "images@master/cars",
                filesystem=fs,
                format="parquet",
                partitioning=["year"],
                existing_data_behavior="delete_matching",
                basename_template=f"{speed}-{{i}}.parquet",
            )
    assert fs.find("images@master") == ["images@master/cars/2024/2-0.parquet"]
    assert commits(client) == 2


def test_duckdb_reads_and_writes(client: Client, fs: PfsFileSystem) -> None:
    with client.modify_file("images@master") as changes:
        changes.put_file("/csv/1.csv", b"name,speed\nfiat,120\n")
        changes.put_file("/csv/2.csv", b"name,speed\nopel,140\n")
    with duckdb.connect() as database:
        database.register_filesystem(fs)
        assert database.sql("SELECT sum(speed) FROM read_csv('pfs://images@master/csv/*.csv')").fetchall() == [(260,)]
        database.execute("COPY (SELECT * FROM read_csv('pfs://images@master/csv/*.csv')) TO 'pfs://images@master/all.parquet' (FORMAT parquet)")
        assert database.sql("SELECT name FROM read_parquet('pfs://images@master/all.parquet') ORDER BY name").fetchall() == [("fiat",), ("opel",)]
    assert fs.ls("images@master", detail=False) == ["images@master/all.parquet", "images@master/csv"]


def test_duckdb_writes_into_an_open_commit(client: Client, fs: PfsFileSystem) -> None:
    with duckdb.connect() as database, fs.commit("images@master"):
        database.register_filesystem(fs)
        database.execute("COPY (SELECT 1 AS one) TO 'pfs://images@master/1.csv'")
        database.execute("COPY (SELECT 2 AS two) TO 'pfs://images@master/2.parquet' (FORMAT parquet)")
    assert commits(client) == 1
    assert fs.cat("images@master/1.csv") == b"one\n1\n"


@pytest.mark.parametrize("columns", [["c3"], ["c0", "c7"]])
def test_columns_are_read_without_the_rest_of_the_file(client: Client, fs: PfsFileSystem, columns: list[str]) -> None:
    rows, slack = 500_000, 256 * 1024
    numbers = pa.array(range(rows), pa.int64())
    table = pa.table({f"c{column}": pc.multiply(numbers, 7919 * column + 1) for column in range(10)})
    with fs.open("images@master/wide.parquet", "wb") as file:
        pq.write_table(table, file, compression="none", use_dictionary=False, row_group_size=rows // 4)
    assert fs.size("images@master/wide.parquet") > 38_000_000
    assert len(client._pfs.find_content("images@master", "/wide.parquet").refs) > 4
    store = count_reads(fs.client._pfs)
    found = pq.read_table("images@master/wide.parquet", filesystem=fs, columns=columns)
    assert found.equals(table.select(columns))
    wanted = len(columns) * rows * 8
    assert wanted <= store.bytes_read <= wanted + slack


def test_polars_reads_columns_without_the_rest_of_the_file(fs: PfsFileSystem) -> None:
    rows = 200_000
    numbers = pa.array(range(rows), pa.int64())
    table = pa.table({f"c{column}": pc.multiply(numbers, 7919 * column + 1) for column in range(20)})
    with fs.open("images@master/wide.parquet", "wb") as file:
        pq.write_table(table, file, compression="none", use_dictionary=False)
    store = count_reads(fs.client._pfs)
    lazy = pl.scan_pyarrow_dataset(ds.dataset("images@master/wide.parquet", filesystem=fs))
    assert lazy.select("c3").collect().to_arrow().equals(table.select(["c3"]))
    with fs.open("images@master/wide.parquet") as file:
        assert pl.read_parquet(file, columns=["c3"], use_pyarrow=True).to_arrow().equals(table.select(["c3"]))
    assert 2 * rows * 8 <= store.bytes_read < 5_000_000 < table.nbytes


def test_duckdb_writes_partitions(client: Client, fs: PfsFileSystem) -> None:
    with duckdb.connect() as database, fs.transaction:
        database.register_filesystem(fs)
        database.execute("COPY (SELECT range AS number, range % 2 AS rest FROM range(6)) TO 'pfs://images@master/parts' (FORMAT parquet, PARTITION_BY (rest))")
    assert commits(client) == 1
    assert [name.rpartition("/")[0] for name in fs.find("images@master/parts")] == ["images@master/parts/rest=0", "images@master/parts/rest=1"]
    with duckdb.connect() as database:
        database.register_filesystem(fs)
        found = database.sql(
            "SELECT number FROM read_parquet('pfs://images@master/parts/**/*.parquet', hive_partitioning = true) WHERE rest = 1 ORDER BY number"
        )
        assert found.fetchall() == [(1,), (3,), (5,)]


def test_part_of_a_column_is_read_by_its_statistics(fs: PfsFileSystem) -> None:
    rows = 400_000
    table = pa.table({"key": pa.array(range(rows), pa.int64()), "value": pc.random(rows)})
    with fs.open("images@master/sorted.parquet", "wb") as file:
        pq.write_table(table, file, compression="none", use_dictionary=False, row_group_size=rows // 10)
    store = count_reads(fs.client._pfs)
    found = ds.dataset("images@master/sorted.parquet", filesystem=fs).to_table(filter=pc.field("key") >= rows - 5)
    assert found.num_rows == 5
    assert store.bytes_read < 1_000_000 < 6_400_000


def count_reads(pfs: Pfs) -> CountingStore:
    """Counts what is read of contents from now on."""
    store = CountingStore(pfs.store)
    pfs.reader = ContentReader(store)
    return store
