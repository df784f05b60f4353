# Every target works from a fresh clone with Python 3.11 and make; it makes the environment in .venv itself.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.installed
PLOTS := .venv/.bench-installed
OUT ?= .
PYTEST := $(BIN)/python -m pytest
# The fast tests wait for processes more than they compute.
TESTERS ?= 4

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install check generated test test-real simulate demo demo-real proto crds manifests bench-workqueue bench-life
.PHONY: bench-load bench-memory bench-resume bench-restore constraints alluxio-lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## Make the environment in .venv: the package, its tools, the versions of constraints.txt

$(READY): setup.cfg pyproject.toml constraints.txt
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or later is needed: make PYTHON=...' >&2; exit 1; }
	@echo 'making .venv (once; it takes a minute or two)'
	@'$(PYTHON)' -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

check: $(READY) generated ## Style, types, arrows between the rooms, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy
	$(BIN)/mypy tests/real
	$(BIN)/lint-imports
	$(BIN)/python -m compileall -q workqueue controllers fluidctl devcluster tests bench

generated: $(READY)
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(MAKE) --silent proto crds OUT="$$fresh" && \
	(cd "$$fresh" && find . -type f) | while read -r file; do \
	  cmp "$$fresh/$$file" "$$file" || { echo "not what its source gives: make proto crds" >&2; exit 1; }; done

test: $(READY) ## The fast tests, about two minutes on two cores (K=expression, COVERAGE=1)
	$(if $(COVERAGE),$(BIN)/coverage run -m pytest,$(PYTEST) -n $(TESTERS) --dist loadgroup) $(if $(K),-k '$(K)')
	$(if $(COVERAGE),$(BIN)/coverage report --skip-covered)

test-real: $(READY) ## The tests against a real API server and a real Alluxio; Go, Java, Maven, bubblewrap needed (K=expression, SEEDS=200)
	$(if $(SEEDS),FLUIDCTL_SEEDS=$(SEEDS) )$(if $(SEED),FLUIDCTL_SEED=$(SEED) )$(PYTEST) tests/real -m real $(if $(K),-k '$(K)')

simulate: $(READY) ## Seeded histories of a whole cluster in one thread (N=1000, SEED=first)
	SIMULATIONS=$${N:-1000} SIMULATION_SEED=$${SEED:-0} $(PYTEST) tests/test_simulation.py -n auto -k history

demo: $(READY) ## A dataset from Pending to Ready on this machine, Python only (DATA=directory, ONCE=1)
	@$(BIN)/fluidctl demo $${DATA:+--data "$$DATA"} $(if $(filter-out 0,$(ONCE)),--once)

demo-real: $(READY) ## The same on a real API server and a real Alluxio (DATA=directory, ONCE=1)
	@$(BIN)/python -m tests.real.demo $${DATA:+--data "$$DATA"} $(if $(filter-out 0,$(ONCE)),--once)

proto: $(READY) ## Generate fluidctl/load/alluxio_pb2.py from the .proto
	@$(BIN)/python -m grpc_tools.protoc --proto_path=. --python_out='$(OUT)' --pyi_out='$(OUT)' fluidctl/load/alluxio.proto

manifests: crds ## Generate what is generated in manifests/: the CRDs, from the models

crds: $(READY)
	@$(BIN)/python -m controllers.api.crd '$(OUT)/manifests/crds'

bench-workqueue: $(READY) ## Measure the work queue
	$(BIN)/python bench/bench_workqueue.py

bench-life: $(READY) ## Measure the life of a dataset on the real stack (ARGS='--files 100000 --runs 5')
	$(BIN)/python -m bench.life $(ARGS)

bench-resume: $(READY) ## Measure what a kill in mid-load costs, some minutes (ARGS='--kills 20 --runs 2')
	$(BIN)/python -m bench.resume $(ARGS)

bench-restore: $(READY) ## Measure a restore against a load, on the real stack, ten minutes (ARGS='--runs 1')
	$(BIN)/python -m bench.restore $(ARGS)

bench-load: $(PLOTS) ## Measure loading against Alluxio's command line, half an hour (ARGS='--resume', '--full', '--scale 0.02')
	$(BIN)/python -m bench.load $(ARGS)

bench-memory: $(PLOTS) ## Measure the memory of a load and a count, ten minutes (ARGS='--scale 0.02')
	$(BIN)/python -m bench.memory $(ARGS)

$(PLOTS): $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	@touch $@

constraints: ## Pin anew what setup.cfg allows (constraints.txt)
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && '$(PYTHON)' -m venv "$$fresh" && \
	"$$fresh/bin/pip" install --quiet --disable-pip-version-check --editable '.[dev,bench]' && \
	{ head -n 1 constraints.txt; "$$fresh/bin/pip" freeze --exclude-editable; } > "$$fresh/constraints" && \
	cp "$$fresh/constraints" constraints.txt

alluxio-lock: $(READY) ## Write tests/real/maven/jars-*.lock after a change of its pom.xml
	$(BIN)/python -m tests.real.jars lock

clean: ## Remove what these targets made here; the caches of programs and jars stay
	rm -rf .venv build dist .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache *.egg-info
	find workqueue controllers fluidctl devcluster tests bench -name __pycache__ -prune -exec rm -rf {} +
