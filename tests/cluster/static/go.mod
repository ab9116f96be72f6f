module pachyderm-dagster/tests/cluster/static

go 1.24.0
