# The two main commands are `make study` and `make test`; the first use sets up the environment.
.DEFAULT_GOAL := help
.PHONY: help study status cost look test setup mlflow bench check clean

PYTHON ?= python3
PRESET ?=
DEVICE ?= cpu
IMAGES ?=
VENV := .venv
# The environment comes first on the path, so that `python -m ...` in dvc.yaml uses it.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# Containers may have users without a name. PYTHONSAFEPATH would hide the folder `stages` from Python.
USER ?= $(shell id -u)
export USER
unexport PYTHONSAFEPATH
# Waiting threads sleep instead of spinning; otherwise, on a shared machine, one busy core stalls all threads.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

help:            ## list these targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/	/' | sort

setup: $(VENV)/.complete  ## create the environment in .venv; the other targets do so when needed

$(VENV)/.complete: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version); choose another with PYTHON=..." >&2; exit 2; }
	@echo "Setting up $(VENV) (a few minutes, once)"
	@# Bytecode is compiled on all cores (pip uses one). Errors are ignored, because some packages contain
	@# templates that are not Python. The pip of Python 3.11 takes three times as long to resolve the lock file.
	@if command -v uv >/dev/null; then \
	  { test -x $(VENV)/bin/python || uv venv --quiet --seed --allow-existing --python $(PYTHON) $(VENV); } && \
	  uv pip install --quiet --compile-bytecode --python $(VENV)/bin/python -r requirements.lock; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=26' && \
	  $(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements.lock && \
	  { $(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true; }; \
	fi
	@touch $@

study: $(VENV)/.complete  ## run the study and write reports/index.html; PRESET=name applies stages/presets/name.yaml first
	@$(if $(PRESET),python -m stages.tools.preset $(PRESET))
	@python -m stages.check
	@test ! -f scratch/tracking-pending || python -m stages.track
# Make runs this line without a shell, which would not pass on a SIGTERM sent to make.
	@python -m stages.tools.repro

status: $(VENV)/.complete ## show what is done, what `make study` would run, why, and for how long
	@python -m stages.tools.status

cost: $(VENV)/.complete   ## predict the cost of the trainings before any runs; DEVICE=h100, PRESET=name, IMAGES="TRAIN TEST"
	@python -m stages.tools.cost --device $(DEVICE) $(if $(PRESET),--preset $(PRESET)) \
	  $(if $(IMAGES),--images $(IMAGES))

look: $(VENV)/.complete   ## check the images, masks and checkpoints named in params.yaml, within seconds
	@python -m stages.tools.check

test: $(VENV)/.complete   ## run the tests
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

mlflow: $(VENV)/.complete ## show the runs in MLflow; PORT=5000 and MLFLOW_TRACKING_URI choose where
	@python -m stages.track
	@uri=$$(python -m stages.tracking.store); case $$uri in http*) echo "MLflow: $$uri";; *) \
	  echo "Open http://127.0.0.1:$${PORT:-5000}/#/experiments/1"; \
	  MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --backend-store-uri "$$uri" \
	    --host 127.0.0.1 --port $${PORT:-5000} --workers 1;; esac

bench: $(VENV)/.complete  ## measure the throughput of pre-training on this machine; run nothing else meanwhile
	@python -m stages.tools.bench

check: $(VENV)/.complete  ## check style and types
	@ruff check . && ruff format --check . && mypy

clean:           ## delete stored trainings, checkpoints and timings; results, downloads and your files stay
	@rm -rf scratch/trainings scratch/failed scratch/timings.jsonl
