# What a newcomer types. Each target does all its own set-up on a machine that has Python 3.11 or newer, make and git:
# uv is taken from PATH or put into .uv/, everything else goes into .venv/. Nothing outside of this folder is installed.
# Written for make 3.81 (macOS) and newer.

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check prove bench docs

ON_PATH := $(shell command -v uv 2>/dev/null || true)
UV := $(if $(ON_PATH),$(ON_PATH),.uv/bin/uv)
ifeq ($(ON_PATH),)
# Our own uv keeps its cache, and a Python that it may have to fetch, in the project too.
export UV_CACHE_DIR ?= $(CURDIR)/.uv/cache
export UV_PYTHON_INSTALL_DIR ?= $(CURDIR)/.uv/python
endif
# Slow networks: the largest wheel has 100 MB.
export UV_HTTP_TIMEOUT ?= 120
# Another project's active environment is none of ours.
unexport VIRTUAL_ENV

# Bytecode is compiled now, so that the first command does not spend its budget on it.
SYNC = $(UV) sync --locked --compile-bytecode
# Behind a company's proxy only the system knows the certificate. Newer and older uv name this differently.
WITH_SYSTEM_CERTIFICATES = UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1

BIN := .venv/bin
DEMO ?= sklearn:breast_cancer
BUDGET ?= 60s

help:
	@echo 'make demo    train on a table that ships with scikit-learn, one minute; DEMO=... BUDGET=... to change'
	@echo 'make up      the pages of Prefect and MLflow and a worker on this machine, until Ctrl-C; UP=... for options'
	@echo 'make test    the test suite'
	@echo 'make check   lint, types, import contracts'
	@echo 'make prove   the long proofs'
	@echo 'make bench   the short benchmarks'
	@echo 'make docs    write the generated pages of docs/ anew'
	@echo 'make setup   only the set-up: .venv/, and .uv/ where uv is missing'

setup: .venv/.ready

.venv/.ready: pyproject.toml uv.lock $(if $(ON_PATH),,.uv/bin/uv)
	@echo 'Setting up .venv (the first time: some 500 MB to download) ...'
	@$(SYNC) || { echo 'Once more, with the certificates of this system ...'; $(WITH_SYSTEM_CERTIFICATES) $(SYNC); } || \
	{ echo; echo 'The set-up failed: see above. It needs Python 3.11 or newer and the Python package index.'; exit 1; }
	@touch $@

.uv/bin/uv:
	@command -v python3 >/dev/null 2>&1 || { echo 'python3 is missing: install Python 3.11 or newer, then run make again.'; exit 1; }
	@python3 deployments/get_uv.py .uv

demo: setup
	@echo '$$ $(BIN)/nestor train $(DEMO) --budget $(BUDGET)'
	@$(BIN)/nestor train $(DEMO) --budget $(BUDGET)
	@echo
	@echo 'Where to look next'
	@echo '  all runs          $(BIN)/nestor runs'
	@echo '  every trial       $(BIN)/mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db'
	@echo '  your own table    $(BIN)/nestor train FILE.csv --target COLUMN --budget 5m'
	@echo '  what it means     docs/estimates.md'

up: setup
	@exec $(BIN)/nestor up $(UP)

test: setup
# By file, as fixtures are shared there; in the order found, as the longest files have the fewest tests.
	@$(BIN)/python -m pytest -q -m 'not prove' -n auto --dist loadfile --no-loadscope-reorder --durations=15

check: setup
	@$(BIN)/ruff check
	@$(BIN)/pyright
	@$(BIN)/lint-imports

prove: setup
	@$(BIN)/python -m pytest -m prove --timeout=0

bench: setup
	@$(BIN)/python -m benchmarks.startup
	@$(BIN)/python -m benchmarks.trials
	@$(BIN)/python -m benchmarks.overhead --budget 60s

docs: setup
	@$(BIN)/python -m benchmarks.pages
