# make book   builds the site            make test        runs every test
# make serve  shows it on this machine   make notebooks   executes the chapters in place
#                                        make ledger      lists the claims of their outputs
# The first call sets up $(VENV); all it needs is Python 3.11 or newer.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
PORT ?= 8000
# `make test CONSTRAINTS=` installs the newest versions that pyproject.toml allows.
CONSTRAINTS ?= -c constraints.txt
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready

.PHONY: book test notebooks ledger serve lint lock bench bench-peers bench-book full studies mutants site-check links clean
.DEFAULT_GOAL := book

book: $(READY)
	rm -rf _build
	$(BIN)/jupyter-book build . -W --keep-going

# One thread per worker: NumPy would otherwise start a thread per core in each of them.
test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS)

notebooks: $(READY)
	$(BIN)/python tools/nb.py run

# The zoo shows the ledger, which lists the claims of the zoo too: after a change of claims, run
# this and `tools/nb.py run zoo` in turn until this changes nothing.
ledger: $(READY)
	$(BIN)/python -m tools.ledger

serve: $(READY)
	test -d _build/html || $(MAKE) book
	$(BIN)/python -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/python tools/nb.py check

bench: $(READY)
	$(BIN)/python -m benchmarks

# Peers that need an environment of their own, .venv-peers; skipped by name where absent.
bench-peers: $(READY)
	$(BIN)/python -m benchmarks.peers

bench-book: $(READY)
	$(BIN)/python -m tools.bench_book

# make full NAME="graphs grids": chapters on real data; see tools/full_scale.py.
full: $(READY)
	$(BIN)/python -m tools.full_scale $(NAME)

# Each study writes its own rows of gdl/results/studies.csv; a leading underscore marks a helper.
studies: $(READY)
	set -e; for study in studies/[!_]*.py; do \
	  $(BIN)/python -m studies.$$(basename $$study .py); done

mutants: $(READY)
	$(BIN)/python tools/mutants.py

# Needs Node.js and Chromium.
site-check: $(READY)
	test -d _build/html || $(MAKE) book
	npm install --no-package-lock --no-fund --no-audit --prefix tools
	node tools/site_check.mjs

# Needs a network; not part of the tests.
links: $(READY)
	$(BIN)/jupyter-book build . --builder linkcheck -W --keep-going

# Reads metadata only; torch is named so that its version does not depend on the machine.
lock: $(READY)
	$(BIN)/python -m pip install -q --disable-pip-version-check uv
	echo torch==2.13.0 > $(VENV)/lock.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --all-extras \
	  -c $(VENV)/lock.txt --no-header --no-annotate -o constraints.txt pyproject.toml

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check $(CONSTRAINTS) -e ".[book,test,bench]"
	touch $@

clean:
	rm -rf _build $(VENV)
