# make detect: set everything up and judge pictures.   make test: set up the rest and pass the tests.
PYTHON ?= python3
VENV   ?= .venv
DEMO    = build/demo
IMAGES ?= $(DEMO)/skimage/data/coffee.png $(DEMO)/openpeople/data/curated/P001/assets/studio_portrait.jpg
RUN     = $(VENV)/bin/
# constraints.txt is the one file of pins: README, CI and every target here install through it.
PIP     = $(RUN)python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PINS    = pyproject.toml constraints.txt

.PHONY: setup detect test check docs bench clean
setup: $(VENV)/.core

$(VENV)/.core: $(PINS)
	$(PYTHON) -c 'import sys; sys.exit("realgrain needs Python 3.11 or later: make PYTHON=python3.x" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

# torch first and alone: with it in place nothing below asks for a build with CUDA.
$(VENV)/.dev: $(VENV)/.core
	$(PIP) torch $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))
	$(PIP) --editable '.[dev]'
	touch $@

# A photograph and a generated portrait, out of two packages that are not installed.
$(DEMO)/.done: $(VENV)/.core
	rm -rf $(DEMO)
	$(PIP) --no-deps --target $(DEMO) scikit-image openpeople
	touch $@

detect: $(VENV)/.core $(if $(filter default file,$(origin IMAGES)),$(DEMO)/.done)
	$(RUN)realgrain detect $(IMAGES)

test: $(VENV)/.dev
	$(RUN)python -m pytest --numprocesses auto --dist loadfile $(TESTS)

check: $(VENV)/.dev
	$(RUN)ruff format --check
	$(RUN)ruff check
	$(RUN)pyrefly check --python-interpreter-path $(RUN)python
	$(RUN)lint-imports
	$(RUN)python benchmarks/readme.py --check

docs: $(VENV)/.core
	$(RUN)python benchmarks/readme.py

bench: $(VENV)/.dev $(DEMO)/.done
	$(RUN)python benchmarks/cold_start.py --python $(RUN)python $(DEMO)/skimage/data/coffee.png
	$(RUN)python benchmarks/training.py

clean:
	rm -rf $(VENV) build
