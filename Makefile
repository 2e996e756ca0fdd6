# Everything happens in .venv; the first verb makes it, later ones find it ready.
# Arguments go through:  make gail ARGS="--env Walker2d-v5 --demos walker.npz"
PYTHON ?= python3
ARGS ?=
RUNS ?= runs
export RUNS  # recipes read it from the environment, whatever letters it has
BIN := .venv/bin
# Errors are shown, warnings are not.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check install -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help gail cifar test compare board lint type format docs tables audit licenses

help:
	@echo "make gail      train GAIL and L2L-GAIL on Hopper-v5, print the comparison"
	@echo "make cifar     adversarial training on CIFAR-10, learned attacker against PGD and FGSM"
	@echo "make compare   compare all runs below RUNS=$(RUNS): summary.md, index.html"
	@echo "make board     the same in TensorBoard; ARGS=--watch while runs go on"
	@echo "make test      the tests; ARGS=\"-m slow\" for the long ones"
	@echo "make docs      the documentation with the API, into site/"
	@echo "make tables    the tables and pictures of README and docs anew, from the records in benchmarks/results"
	@echo "make lint      ruff; 'make format' repairs, 'make type' runs mypy"
	@echo "make audit     known vulnerabilities of what is installed; 'make licenses' lists the licences"
	@echo "Flags of a script: make gail ARGS=\"--help\". Another Python: make gail PYTHON=python3.12"

gail: .venv/.ready
	@$(BIN)/python train_gail.py $(ARGS)

cifar: .venv/.ready
	@$(BIN)/python train_cifar.py $(ARGS)

compare: .venv/.ready
	@$(BIN)/python -m l2l_gail.compare "$$RUNS" $(ARGS)

board: .venv/.ready
	@$(BIN)/python -m l2l_gail.compare "$$RUNS" --board $(ARGS)

# The networks of the tests are small: with one torch thread each, two workers do not fight.
test: .venv/.ready
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 $(ARGS)

lint: .venv/.ready
	@$(BIN)/ruff check $(ARGS)
	@$(BIN)/ruff format --check $(ARGS)

format: .venv/.ready
	@$(BIN)/ruff check --fix $(ARGS)
	@$(BIN)/ruff format $(ARGS)

type: .venv/.ready
	@$(BIN)/mypy $(ARGS)

# Strictly: a warning is an error.  And nothing on it may be loaded from elsewhere.
docs: .venv/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet $(ARGS)
	@! grep -rlE '<(script|link|img|iframe)[^>]+(src|href)="?(https?:)?//' site || \
	  { echo "These pages load something from elsewhere"; exit 1; }
	@echo "The documentation is site/index.html"

.venv/.docs: .venv/.ready
	@$(PIP) --no-build-isolation -e ".[docs]"
	@touch $@

tables: .venv/.ready
	@$(BIN)/python -m l2l_gail.compare benchmarks/results/runs >/dev/null
	@for kind in gail cifar gpu; do \
	  $(BIN)/python benchmarks/$$kind/report.py --write >/dev/null || exit; done
	@$(BIN)/python benchmarks/pictures.py >/dev/null
	@git status --short README.md docs benchmarks/results 2>/dev/null || true

# Both look at .venv from outside, so that it holds nothing but what is used and tested.
# pip-audit ends in a traceback where it reaches nothing, and with "no known vulnerabilities" where
# what it reaches (a mirror of the index) knows of none.
audit: .venv/.ready .venv/.tools/.ready
	@packages="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
	.venv/.tools/bin/pip-audit --progress-spinner off $(ARGS) --path "$$packages" \
	  >.venv/.audit 2>&1; status=$$?; \
	number=$$(ls -d "$$packages"/*.dist-info | wc -l); \
	skipped=$$(grep -c 'could not be audited' .venv/.audit); \
	if grep -q '^Traceback' .venv/.audit; then \
	  reason=$$(tail -n 1 .venv/.audit | cut -c 1-120); \
	  echo "error: the list of vulnerabilities cannot be reached ($$reason...): run make audit" \
	    "where the public package index is" >&2; exit 2; \
	elif [ $$((2 * skipped)) -gt $$number ]; then \
	  echo "error: $$skipped of $$number packages are unknown to the index that answers: run make" \
	    "audit where the public package index is, and not a mirror of it" >&2; exit 2; \
	fi; \
	cat .venv/.audit; exit $$status

licenses: .venv/.ready .venv/.tools/.ready
	@.venv/.tools/bin/pip-licenses --python=$(BIN)/python --order=license $(ARGS)

.venv/.tools/.ready: | .venv/.ready
	@$(BIN)/python -m venv .venv/.tools
	@.venv/.tools/bin/python -m pip -qq --disable-pip-version-check install \
	  pip-audit==2.10.1 pip-licenses==5.5.5
	@touch $@

# torch first and by its plain pin, so that pip takes the build its configuration prefers (a local
# CPU wheel sorts before the CUDA build of the same version).  torch brings setuptools, hence no
# isolated build.  A package that only the tests need and whose own dependencies do not fit beside
# these would follow here as `$(PIP) --no-deps NAME`; there is none.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot make a virtual environment: apt install python3-venv"; exit 1; }
	@echo "Setting up .venv: 1 to 3 minutes, 2 GB of disk (6 GB if pip takes the CUDA torch)"
	@$(PYTHON) -m venv .venv
	@$(PIP) "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	@$(PIP) --no-build-isolation -e ".[dev]"
	@touch $@
