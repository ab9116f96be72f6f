"""A Dagster project whose assets are exported: two functions, one of them installed in an image of its own, a plain asset, and what a commit sensor knows."""

import dagster as dg

from pachyderm_dagster.integration import datum_asset, pfs


@datum_asset(input=pfs("texts", glob="/*"))
def words(texts: str) -> str:
    """The words of a text, a line each."""
    return "\n".join(texts.split())


@datum_asset(input=pfs("words"), python="/usr/bin/python3", spec={"transform": {"image": "registry/total:1"}})
def total(words: dict[str, bytes]) -> str:
    """How many texts have words."""
    return str(len(words))


@dg.asset
def plain() -> None:
    """Nothing of ours."""


defs = dg.Definitions(assets=[words, total, plain], jobs=[dg.define_asset_job("count_all", [words, total]), dg.define_asset_job("mixed", [total, plain])])
