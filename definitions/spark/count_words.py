"""Counts the words of all texts below /pfs/texts with Spark, in this process: /pfs/out/words.csv, the most frequent first."""

import csv
import os
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as f


def main(pfs: Path, scratch: str) -> None:
    # One thread a core of what the datum gets; no web page, which would take a port.
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "4", "spark.local.dir": scratch, "spark.driver.bindAddress": "127.0.0.1"}
    session = SparkSession.builder.master("local[2]").appName("words").config(map=settings).getOrCreate()
    try:
        lines = session.read.option("recursiveFileLookup", "true").text(f"file://{pfs}/texts")
        words = lines.select(f.explode(f.split(f.lower("value"), "[^a-z']+")).alias("word")).select(f.trim("word", f.lit("'")).alias("word"))
        counted = words.where("word <> ''").groupBy("word").count().orderBy(f.desc("count"), "word").collect()
    finally:
        session.stop()
    with (pfs / "out" / "words.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("word", "count"))
        table.writerows(counted)
    print(f"{len(counted)} words")


if __name__ == "__main__":
    # Where the system does not let /pfs be made, it is another folder, which PFS_ROOT names.
    main(Path(os.environ.get("PFS_ROOT", "/pfs")), os.environ.get("TMPDIR", "/tmp"))
