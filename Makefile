# Every target makes what it needs first, from a bare clone; a second call starts at once.
# Another interpreter: make lab PYTHON=/path/to/python3.12
# Another build of torch: TORCH_INDEX=https://download.pytorch.org/whl/cu130 make lab   (or .../whl/cpu, the small one)
SHELL := /bin/sh
BIN := .venv/bin
NOTEBOOKS := $(if $(wildcard notebooks/*.ipynb),notebooks) $(if $(wildcard solutions/*.ipynb),solutions)
PYTEST = DNL_RECORD=off $(BIN)/python -m pytest tests $(NOTEBOOKS) --nbval --nbval-current-env \
	--nbval-sanitize-with=tests/nbval_sanitize.cfg --nbval-cell-timeout=120

# nbgrader looks for its alembic on the PATH
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHON TORCH_INDEX

.DEFAULT_GOAL := help
.PHONY: help environment bench-environment lab test test-all run notebooks exercises bench clean

help:
	@echo "make lab         open the course in JupyterLab (your own copies lie in work/)"
	@echo "make test        pass the tests"
	@echo "make run         execute every lesson and write build/course/index.html, readable offline"
	@echo "make notebooks   execute the lessons and solutions in place, for authors"
	@echo "make exercises   derive exercises/ from solutions/, for authors"
	@echo "make bench       compare with scikit-image, OpenCV, mmcv and mmsegmentation, in one run"
	@echo "make test-all    also the tests that take long"
	@echo "make clean       remove build/ and caches (never work/)"
	@echo
	@echo "Each makes .venv first, with Python 3.11 or newer: PYTHON=/path/to/python3.12 names another one."
	@echo "Another build of torch: TORCH_INDEX=https://download.pytorch.org/whl/cu130 make lab"
	@echo "                   or: TORCH_INDEX=https://download.pytorch.org/whl/cpu make lab   (small, no GPU)"

environment:
	@sh .ci/environment

bench-environment: environment
	@sum=$$(cksum < requirements-bench.txt); \
	[ "$$sum" = "$$(cat .venv/.dnl-bench 2>/dev/null)" ] || { \
		$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps -r requirements-bench.txt && \
		echo "$$sum" > .venv/.dnl-bench; }

lab: environment
	@$(BIN)/python -m dnl_course.cli lab

test: bench-environment
	$(PYTEST) -m "not slow"

test-all: bench-environment
	$(PYTEST)

run: environment
	@$(BIN)/python -m dnl_course.cli dev run

notebooks: environment
	@$(BIN)/python -m dnl_course.cli dev notebooks

exercises: environment
	@$(BIN)/python -m dnl_course.cli dev exercises

bench: bench-environment
	$(BIN)/python -m benchmarks

clean:
	rm -rf build .pytest_cache .hypothesis .ruff_cache
	find . -name .venv -prune -o -name work -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -name .venv -prune -o -name work -prune -o -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
