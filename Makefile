# Every target makes .venv first, from requirements.lock; nothing else has to be installed but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
CODE := pachyderm_dagster definitions tests benchmarks

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help .venv demo test test-browser test-cluster test-deploy test-hera test-kubeflow test-oldest test-services docs lint format bench bench-peers lock clean

help:
	@echo "make demo    run the main job end to end; a second call runs nothing again"
	@echo "make test    the tests"
	@echo "make test-services    the suites that hold for every backend, on a real PostgreSQL, S3 server and etcd (needs Go)"
	@echo "make test-cluster    jobs and pods on a real Kubernetes, which is made for the tests (needs root; Go the first time)"
	@echo "make test-browser    Dagster's UI in a real browser (Chromium)"
	@echo "make test-deploy    the Helm chart and the Compose file (needs Go); where KUBECONFIG names a cluster, its API server checks it too"
	@echo "make test-hera    what hera's models say of exported workflows, and workflows that hera writes (needs root)"
	@echo "make test-kubeflow    what kfp says of exported pipelines and does with them (needs root)"
	@echo "make test-oldest    the integration's tests on the oldest Dagster that is supported"
	@echo "make docs    the documentation's checks: commands run, links resolve, lists are complete"
	@echo "make lint    formatting, lint rules, types, layers"
	@echo "make format  put the code into the form that 'make lint' wants"
	@echo "make bench   the benchmarks, as ratios"
	@echo "make bench-peers    install DVC and Snakemake for them to be compared with (restic and borg come from the system)"
	@echo "make lock    write requirements.lock anew from pyproject.toml (LOCK_FLAGS=--upgrade for newer versions)"
	@echo "make clean   remove .venv and what tools and the demo left"

.venv: .venv/installed

# Emptied when the lock changes, so that nothing outlives its line there. An interrupted install has no stamp and starts again.
.venv/locked: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: '$(PYTHON)' is missing or older than Python 3.11; install a newer one or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing $$(grep -c == requirements.lock) locked packages into .venv (a minute or two the first time)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/pip install --quiet --no-deps --require-hashes -r requirements.lock
	@touch $@

.venv/installed: .venv/locked pyproject.toml
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q pachyderm_dagster  # as pip does with what it copies; a command starts a quarter sooner
	@touch $@

demo: .venv
	@$(BIN)/python definitions/demo.py

test: .venv
	$(BIN)/pytest -n auto --dist worksteal --ignore=tests/docs --ignore=tests/browser --ignore=tests/deploy -m "not cluster and not hera and not kfp"

test-services: .venv
	tests/services/run

test-cluster: .venv
	tests/cluster/run

test-browser: .venv
	tests/browser/run

test-deploy: .venv
	tests/deploy/run

test-hera: .venv
	tests/argo/run_hera

test-kubeflow: .venv
	tests/kubeflow/run

test-oldest: .venv
	tests/integration/on_oldest --quiet

docs: .venv
	$(BIN)/pytest tests/docs

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CODE)
	$(BIN)/lint-imports

format: .venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv
	@for script in $(filter-out benchmarks/measuring.py benchmarks/cluster_load.py benchmarks/simulated_workers.py,$(wildcard benchmarks/*.py)); do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# restic, borg and git are Debian's (apt-get install restic borgbackup git strace); DVC and Snakemake get an environment of their own.
bench-peers:
	$(PYTHON) -m venv --clear build/peers
	build/peers/bin/pip install --quiet dvc snakemake

lock:
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/pip install --quiet uv
	@build/lock/bin/uv pip compile pyproject.toml --extra examples --extra dev --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-emit-index-url --no-header --no-strip-extras --quiet --output-file requirements.lock $(LOCK_FLAGS)
	@for image in server worker build; do \
		case $$image in server) from="pyproject.toml --extra server" ;; *) from=deploy/images/$$image.in ;; esac; \
		build/lock/bin/uv pip compile $$from --universal --python-version 3.11 --fork-strategy fewest --constraints requirements.lock \
			--generate-hashes --no-emit-index-url --no-header --no-strip-extras --quiet --output-file deploy/images/$$image.lock $(LOCK_FLAGS) || exit 1; \
	done
	@for kfp in oldest newest; do \
		build/lock/bin/uv pip compile tests/kubeflow/$$kfp.in --universal --python-version 3.11 --fork-strategy fewest \
			--generate-hashes --no-emit-index-url --no-header --no-strip-extras --no-annotate --quiet --output-file tests/kubeflow/$$kfp.lock $(LOCK_FLAGS) || exit 1; \
	done
	@build/lock/bin/uv pip compile tests/argo/hera.in --universal --python-version 3.11 --fork-strategy fewest \
		--generate-hashes --no-emit-index-url --no-header --no-strip-extras --no-annotate --quiet --output-file tests/argo/hera.lock $(LOCK_FLAGS)

clean:
	rm -rf .venv build dist .demo .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
