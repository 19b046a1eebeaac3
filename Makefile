# The two commands are `make study` and `make test`; each does all the set-up it needs, once.
.DEFAULT_GOAL := help
.PHONY: help study test setup mlflow bench check clean

PYTHON ?= python3
PRESET ?=
VENV := .venv
# Everything below runs with the environment first on the path, so `cmd: python -m ...` of dvc.yaml finds it.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

help:            ## what there is to run
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' Makefile | sed -E 's/: *[a-z.$$()/ -]*##/	/' | sort

setup: $(VENV)/.complete  ## the environment in .venv, made once

$(VENV)/.complete: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) found; name another with PYTHON=..." >&2; exit 2; }
	@echo "Setting up .venv (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

study: $(VENV)/.complete  ## run the study to reports/index.html; PRESET=name applies stages/presets/name.yaml first
	@$(if $(PRESET),python -m stages.tools.preset $(PRESET))
	@python -m stages.tools.check
	@dvc repro --quiet 2>&1 || { status=$$?; echo "The study stopped; mend what the line above says and run it again." >&2; exit $$status; }
	@echo "Report: $(CURDIR)/reports/index.html"

test: $(VENV)/.complete   ## the tests
	@python -m pytest

mlflow: $(VENV)/.complete ## the runs in MLflow's own pages
	@python -m stages.tools.mlflow_ui

check: $(VENV)/.complete  ## lint and types
	@ruff check . && ruff format --check . && mypy

clean:           ## drop resume state and timings; data, models and reports stay
	rm -rf scratch
