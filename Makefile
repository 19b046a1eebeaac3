# The two commands are `make study` and `make test`; each does all the set-up it needs, once.
.DEFAULT_GOAL := help
.PHONY: help study status cost look test setup mlflow bench check clean

PYTHON ?= python3
PRESET ?=
DEVICE ?= cpu
IMAGES ?=
VENV := .venv
# Everything below runs with the environment first on the path, so `cmd: python -m ...` of dvc.yaml finds it.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
# A user without a name, as in containers; a Python that does not look for `stages` here would find nothing.
USER ?= $(shell id -u)
export USER
unexport PYTHONSAFEPATH
# Waiting threads sleep instead of spinning: on a shared machine a busy core stalls all of them otherwise.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

help:            ## what there is to run
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*##/	/' | sort

setup: $(VENV)/.complete  ## the environment in .venv, made once

$(VENV)/.complete: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) found; name another with PYTHON=..." >&2; exit 2; }
	@echo "Setting up .venv (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@# The pip that comes with Python 3.11 takes three times as long to see that the versions of the lock fit.
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=26'
	@$(VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -r requirements.lock
	@# On all cores, which pip does on one; a few files of a few packages are templates and not Python.
	@$(VENV)/bin/python -m compileall -qq -j 0 $(VENV)/lib || true
	@touch $@

study: $(VENV)/.complete  ## run the study to reports/index.html; PRESET=name applies stages/presets/name.yaml first
	@$(if $(PRESET),python -m stages.tools.preset $(PRESET))
	@python -m stages.check
	@test ! -f scratch/tracking-pending || python -m stages.track
	@python -m stages.tools.repro || { status=$$?; \
	  test $$status -eq 130 || echo "The study stopped; mend what the line above says and run it again." >&2; exit $$status; }
	@echo "Report: $(CURDIR)/reports/index.html"

status: $(VENV)/.complete ## what is done, what `make study` would run and why, and how long that takes
	@python -m stages.tools.status

cost: $(VENV)/.complete   ## what the trainings take before any runs; DEVICE=h100, PRESET=name, IMAGES="TRAIN TEST"
	@python -m stages.tools.cost --device $(DEVICE) $(if $(PRESET),--preset $(PRESET)) \
	  $(if $(IMAGES),--images $(IMAGES))

look: $(VENV)/.complete   ## what the images, masks and checkpoints hold that params.yaml names, in seconds
	@python -m stages.tools.check

test: $(VENV)/.complete   ## the tests
	@OMP_NUM_THREADS=1 python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

mlflow: $(VENV)/.complete ## the runs in MLflow's own pages; MLFLOW_TRACKING_URI points elsewhere, PORT=5000
	@python -m stages.track
	@uri=$$(python -m stages.tracking.store); case $$uri in http*) echo "MLflow: $$uri";; *) \
	  echo "Open http://127.0.0.1:$${PORT:-5000}/#/experiments/1"; \
	  MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow server --backend-store-uri "$$uri" \
	    --host 127.0.0.1 --port $${PORT:-5000} --workers 1;; esac

bench: $(VENV)/.complete  ## how fast pre-training runs on this machine, as a table; let nothing else run beside it
	@python -m stages.tools.bench

check: $(VENV)/.complete  ## lint and types
	@ruff check . && ruff format --check . && mypy

# Ended trainings and what single trainings keep to resume: names that end in a fingerprint of 16 digits.
FOUR := [0-9a-f][0-9a-f][0-9a-f][0-9a-f]
RESUMED := $(foreach stage,pretrain finetune segment linear_augmented,scratch/$(stage)-*-$(FOUR)$(FOUR)$(FOUR)$(FOUR))

clean:           ## drop trainings kept for reuse, resume state and timings; results, downloads and files of yours stay
	@rm -rf scratch/trainings scratch/failed scratch/timings.jsonl $(RESUMED)
