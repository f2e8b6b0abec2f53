# What a new user types. Everything happens in .venv; Python 3.11 or newer is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
BIN_EXTRAS := .venv-extras/bin
DEMO := out/demo
PHOTOGRAPHS := examples/photographs
comma := ,
EXTRAS := test,sam,groundingdino,vlm,ray

.PHONY: install test quick test-numeric install-extras test-extras test-ray docs demo paper

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

# All but the slow ones: under two minutes on two cores.
quick: install
	$(BIN)/python -m pytest -n auto -m "not slow"

# The tests that compare floating-point computations of models, as processors without AVX-512 and with no more than
# SSE round, on one thread and on two: none of that may decide whether they pass.
# Of two folders alone, since the whole tree takes longer to collect than these take to run. Threads wait passively:
# there are more of them than cores.
test-numeric: export OMP_WAIT_POLICY = passive
test-numeric: install
	set -e; for rounding in "default 1" "avx2 2"; do set -- $$rounding; \
		echo "ATEN_CPU_CAPABILITY=$$1 OMP_NUM_THREADS=$$2"; \
		ATEN_CPU_CAPABILITY=$$1 OMP_NUM_THREADS=$$2 $(BIN)/python -m pytest -n auto -m numeric \
			tests/annotation tests/hi_scoring; \
	done

# The tests of all models, those that need further packages included.
test-extras: install-extras
	$(BIN_EXTRAS)/python -m pytest -n auto tests/annotation/test_backends.py tests/annotation/detectors \
		tests/annotation/grounders tests/annotation/segmenters \
		tests/hi_scoring/attention tests/hi_scoring/families tests/hi_scoring/scores/test_scorer.py \
		tests/hi_scoring/model/test_dialogue.py tests/hi_scoring/tuning/test_collator.py tests/hi_scoring/sparse \
		tests/hi_scoring/interventions/test_knockout.py tests/hi_scoring/interventions/test_positions.py \
		tests/hi_scoring/interventions/test_tracking.py tests/hi_scoring/ablation/test_editors.py

# Ray is started several times, and so is a cluster of two machines: three minutes on two cores, one test at a time.
test-ray: install-extras
	$(BIN_EXTRAS)/python -m pytest tests/on_ray

# site/index.html can be opened as a file; neither the build nor the pages need a network.
docs: install
	$(BIN)/python -m tools.docs
	$(BIN)/zensical build --strict --clean

# Of a number and a text, a line before each step of the demo.
step = @printf '\n\033[1m%s\033[0m\n' "$(1)"

# Times are those of two cores.
demo: install
	$(call step,1/6  Six photographs with masks drawn by hand: link the phrases of their descriptions to the masks (10 s))
	$(BIN)/datasetkit build coco --images $(PHOTOGRAPHS) --instances $(PHOTOGRAPHS)/instances.json \
		--captions $(PHOTOGRAPHS)/captions.json --caption all --out out/photographs
	$(BIN)/datasetkit verify out/photographs
	$(BIN)/datasetkit preview out/photographs
	$(call step,2/6  Sixty rendered scenes: small models that ship with the package find the objects (15 s))
	$(BIN)/datasetkit build toyworld --count 60 --splits train=.8,test=.2 --out $(DEMO)
	$(BIN)/datasetkit stats $(DEMO)
	$(BIN)/datasetkit preview $(DEMO)
	$(call step,3/6  Anybody loads it with the library datasets alone (2 s))
	$(BIN)/python -c 'import datasets; print(datasets.load_dataset("$(DEMO)"))'
	$(call step,4/6  How much does each attention head of a small language model look at the objects? (15 s))
	$(BIN)/datasetkit score --model toyworld:vlm --data $(DEMO) --out $(DEMO)-scores
	$(call step,5/6  Tune the layer that looks most at the objects$(comma) the one that looks least$(comma) and a random one (2 min))
	$(call compared,$(DEMO)-tuning,200,600,100,--select top-layers:1 --select random-layers:1 --select bottom-layers:1 \
		--seeds 0 --steps 150)
	$(call step,6/6  Open these pages in a browser)
	@echo "out/photographs.html              hover over a phrase: the objects that it names light up"
	@echo "$(DEMO).html                     the same for scenes: masks and links were found by models"
	@echo "$(DEMO)-scores/report.html       which heads look at the objects; compare with the dashed line of chance"
	@echo "$(DEMO)-tuning/report.html       which layers change the model most when they are tuned. One seed and 150 steps"
	@echo "                                  are too few to tell$(comma) so the honest answer there is often \"does not hold\";"
	@echo "                                  'make paper' asks again with five seeds in about 30 minutes"

# Does tuning the layers that look at key objects shift a model more than tuning others? About 30 minutes on two cores;
# interrupted, it goes on.
paper: install
	$(call compared,out/paper,500,2000,300,--select top-layers:1 --select bottom-layers:1 --select random-layers:1 \
		--select top-layers:2 --select bottom-layers:2 --select random-layers:2 --select all --seeds 0,1,2,3,4 --steps 400)
	@echo "open out/paper/report.html in a browser"

# Heads are scored by the untuned model on scenes of its own domain. What is learnt and tested is of the shifted domain,
# where colours and shapes have each other's names; whether the old names are forgotten is tested on the own domain.
SCENES := $(BIN)/datasetkit build toyworld --preset none --no-overlay --size-px 128

# Of a folder, scenes to score heads on, scenes to learn, scenes to test, and what is compared.
define compared
	$(SCENES) --scene-split train --count $(2) --out $(1)-data/own-train
	$(SCENES) --scene-split train --domain shifted --count $(3) --out $(1)-data/shifted-train
	$(SCENES) --scene-split test --domain shifted --count $(4) --out $(1)-data/shifted-test
	$(SCENES) --scene-split test --count $(4) --out $(1)-data/own-test
	$(BIN)/datasetkit score --model toyworld:vlm --data $(1)-data/own-train --by hi:phrase --out $(1)-scores
	$(BIN)/datasetkit compare --model toyworld:vlm --data $(1)-data/shifted-train --test $(1)-data/shifted-test \
		--forgetting $(1)-data/own-test --scores $(1)-scores --by hi:phrase --batch 16 --learning-rate 5e-3 \
		--out $(1) $(5)
endef
