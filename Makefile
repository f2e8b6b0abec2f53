# What a new user types. Everything happens in .venv; Python 3.11 or newer is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
DEMO := out/demo

.PHONY: install test demo

install: .venv/installed

# PyTorch first and by itself: its pinned CPU build keeps every other package from asking for a larger one.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

test: install
	$(BIN)/python -m pytest -n auto

demo: install
	$(BIN)/datasetkit build toyworld --count 60 --splits train=.8,test=.2 --out $(DEMO)
	$(BIN)/datasetkit verify $(DEMO)
	$(BIN)/datasetkit stats $(DEMO)
	$(BIN)/datasetkit preview $(DEMO)
	$(BIN)/python -c 'import datasets; print(datasets.load_dataset("$(DEMO)"))'
	@echo "open $(DEMO).html in a browser"
