# What a new user types. Everything happens in .venv; Python 3.11 or newer is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
BIN_EXTRAS := .venv-extras/bin
DEMO := out/demo
EXTRAS := test,sam,groundingdino,vlm

.PHONY: install test install-extras test-extras demo

install: .venv/installed

install-extras: .venv-extras/installed

# PyTorch first and by itself: its pinned CPU build keeps every other package from asking for a larger one.
define create
	test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --upgrade pip
	$(1)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(1)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[$(2)]'
endef

.venv/installed: pyproject.toml constraints.txt
	$(call create,.venv,test)
	touch $@

# groundingdino-py asks for the OpenCV that opens windows, which needs the libraries of a screen; it opens none.
.venv-extras/installed: pyproject.toml constraints.txt
	$(call create,.venv-extras,$(EXTRAS))
	$(BIN_EXTRAS)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless
	$(BIN_EXTRAS)/python -m pip install --quiet --constraint constraints.txt opencv-python-headless
	touch $@

test: install
	$(BIN)/python -m pytest -n auto

# The tests of all models, those that need further packages included.
test-extras: install-extras
	$(BIN_EXTRAS)/python -m pytest -n auto tests/annotation/test_backends.py tests/annotation/detectors \
		tests/annotation/grounders tests/annotation/segmenters \
		tests/hi_scoring/attention tests/hi_scoring/families tests/hi_scoring/test_scorer.py

demo: install
	$(BIN)/datasetkit build toyworld --count 60 --splits train=.8,test=.2 --out $(DEMO)
	$(BIN)/datasetkit verify $(DEMO)
	$(BIN)/datasetkit stats $(DEMO)
	$(BIN)/datasetkit preview $(DEMO)
	$(BIN)/python -c 'import datasets; print(datasets.load_dataset("$(DEMO)"))'
	$(BIN)/datasetkit score --model toyworld:vlm --data $(DEMO) --prompt "Describe the picture." --out $(DEMO)-scores
	@echo "open $(DEMO).html and $(DEMO)-scores/report.html in a browser"
