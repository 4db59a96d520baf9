# Patchwork. `make help` lists what can be made; each target sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
RECIPE ?= shapes-quick
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup book pdf test test-code test-notebooks test-site check-links corners lab train bench study lint lint-workflows links \
  edition pages student clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Patchwork needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Try make PYTHON=python3.12")'
	@echo "== setting up $(VENV): PyTorch, Jupyter Book and vitlib (a few minutes, several GB)"
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip
	$(RUN)/python -m pip install --quiet -r requirements.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/ready  ## only make the environment, .venv

book: $(VENV)/ready  ## execute all chapters and write _build/html/index.html
	@echo "== executing every chapter; a few minutes on two cores"
	rm -rf _build/html _build/.doctrees
	BOOK_STATIC=1 $(RUN)/jupyter-book build . --all -W -n --keep-going
	@echo "== open $(CURDIR)/_build/html/index.html"

pdf: $(VENV)/ready  ## the book as one PDF, from the last `make book`: _build/patchwork.pdf
	$(RUN)/python book/tools/pdf.py

test: lint test-code test-notebooks book test-site  ## prove the lot: package, chapters, notebooks, site
	@echo "== all tests passed"

test-code: $(VENV)/ready  ## the package, the chapters' code, the exercises' checkers
	@echo "== package, chapters and exercises"
	OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -n 2 --ignore=tests/site tests

test-notebooks: $(VENV)/ready  ## every notebook, from an empty folder, with only the built wheel
	@echo "== notebooks, from an empty folder with the wheel"
	rm -rf build dist && mkdir -p build/empty
	$(RUN)/python -m build --wheel --outdir dist . > build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	$(RUN)/python -m pip install --quiet --no-deps --target build/site dist/*.whl
	cp notebooks/*.ipynb build/empty/
	cd build/empty && export PYTHONPATH=$(CURDIR)/build/site && \
	  python -c 'import vitlib; assert "build/site" in vitlib.__file__, vitlib.__file__; print("vitlib from", vitlib.__file__)' && \
	  OMP_NUM_THREADS=1 python -m pytest -q --rootdir=. -c /dev/null -p no:python -p no:cacheprovider --nbval-lax --nbval-current-env \
	    --nbval-cell-timeout=1800 -n 2 --dist loadscope --durations=10 .

test-site: $(VENV)/ready  ## the built site, in a real browser (needs Chromium and its driver)
	@echo "== the built site"
	BOOK_TEST_SITE=1 OMP_NUM_THREADS=1 $(RUN)/python -m pytest -q -n 2 tests/site

check-links: $(VENV)/ready  ## ask every address outside the book whether it answers (needs a network and a built site)
	$(RUN)/python book/tools/check_links.py

corners: $(VENV)/ready  ## every notebook with the oldest and newest PyTorch: make corners PYTHON=python3.13 TORCH=oldest
	$(RUN)/python book/tools/corners.py --python $(PYTHON) $(foreach which,$(or $(TORCH),oldest newest),--torch $(which))

lab: $(VENV)/ready  ## JupyterLab on the chapters
	$(RUN)/jupyter lab --notebook-dir=notebooks

train: $(VENV)/ready  ## train a recipe: make train RECIPE=cifar10-tiny
	$(RUN)/python -m vitlib train $(RECIPE)

bench: $(VENV)/ready  ## images per second beside tutorials and other libraries, and the recipes' whole steps
	$(RUN)/python -m pip install --quiet -e '.[bench]'
	$(RUN)/python book/studies bench --memory
	$(RUN)/python book/studies steps

study: $(VENV)/ready  ## the studies that make records: make study lists them, make study STUDY=clinic runs one
	$(RUN)/python book/studies $(STUDY)

lint: lint-workflows  ## style of the code, notebooks as they should be committed, the workflows
	$(RUN)/ruff check .
	$(RUN)/python book/tools/notebooks.py --check

lint-workflows: $(VENV)/ready  ## the GitHub workflows: pinned actions, least permissions, no injection
	$(RUN)/zizmor --offline --quiet --strict-collection --persona pedantic .github
	@if command -v actionlint >/dev/null; then actionlint; else echo "actionlint is not installed, so the workflows' syntax is only read by zizmor"; fi

links: $(VENV)/ready  ## set the book's address: make links REPO=owner/name, and BRANCH=… or TAG=…; CLEAR=1 takes it out
	$(RUN)/python book/tools/links.py $(if $(CLEAR),--clear,'$(REPO)' $(if $(TAG),--tag '$(TAG)',--branch '$(or $(BRANCH),main)'))

edition: pdf  ## the built site as a dated zip, and the PDF, in dist: make edition TAG=v1.0
	$(RUN)/python book/tools/editions.py pack '$(TAG)'

pages: $(VENV)/ready  ## the site to publish, in _build/pages: this edition, and below archive/ all zips in dist/archive
	$(RUN)/python book/tools/editions.py pages

student: $(VENV)/ready  ## the chapters without solutions, in _build/student
	$(RUN)/python book/tools/student.py

clean:  ## remove what was built (not $(VENV))
	rm -rf _build build dist *.egg-info .jupyter_cache .pytest_cache .ruff_cache
