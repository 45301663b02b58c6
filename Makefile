# Two commands: `make demo` and `make test`. Everything else is for those who change the project.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STUDY ?= examples/STS_019
FLAVOR ?= cpu
PIP_ARGS ?=
CONSTRAINTS := constraints.txt

.PHONY: demo test check lint types stubs stubs-check bench clean
.DEFAULT_GOAL := demo

# Set-up. numpy comes first because pyradiomics builds against it and does not say so.
$(VENV)/installed: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -c 'import sys; sys.exit("OncoResponse needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing OncoResponse and its libraries into $(VENV) (about two minutes and 2.5 GB)."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) numpy setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) --no-build-isolation pyradiomics==3.0.1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) --no-build-isolation -e '.[$(FLAVOR),dev]'
	$(BIN)/oncoradiomics precompile
	@touch $@

demo: $(VENV)/installed
	$(BIN)/oncoresponse assess $(STUDY) --model sts-petct --out demo-output

test: $(VENV)/installed
	$(BIN)/python -m pytest

check: lint types stubs-check

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint
	$(BIN)/buf format --exit-code -d protos > /dev/null
	@if git rev-parse --verify --quiet main:protos > /dev/null; then $(BIN)/buf breaking --against '.git#branch=main'; fi

types: $(VENV)/installed
	$(BIN)/mypy

# Stubs: compiled by grpc_tools from the image that buf builds; committed, so that users need no compiler.
STUBS := $(BIN)/buf build -o build/protos.binpb && $(BIN)/python -m grpc_tools.protoc --descriptor_set_in=build/protos.binpb

define generate_stubs
	mkdir -p build $(1)
	$(STUBS) --python_out=$(1) --pyi_out=$(1) --grpc_python_out=$(1) $(PROTOS)
	$(STUBS) --python_out=$(1) --pyi_out=$(1) buf/validate/validate.proto
endef
PROTOS := $(patsubst protos/%,%,$(wildcard protos/oncoresponse/v1/*.proto))

stubs: $(VENV)/installed
	$(call generate_stubs,services)

stubs-check: $(VENV)/installed
	rm -rf build/stubs
	$(call generate_stubs,build/stubs)
	diff -r -x __pycache__ -x __init__.py build/stubs/oncoresponse/v1 services/oncoresponse/v1
	diff -r -x __pycache__ build/stubs/buf services/buf

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.stages

.PHONY: bench-radiomics
# CASES: folder of a cohort (patient folders with CT, PET and their masks); without it the sample studies are measured.
bench-radiomics: $(VENV)/installed
	$(BIN)/python -m benchmarks.radiomics $(CASES)

clean:
	rm -rf build demo-output .pytest_cache .mypy_cache .ruff_cache
