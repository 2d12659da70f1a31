# The entry point to everything. Works with GNU make 3.81 (macOS) and later.
PROFILE ?= laptop
JOBS ?= 2
SEEDS ?=
DATA ?=
CLUSTER ?=
ANATOMIES ?=
REAL ?=
PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
TRITON := 3.9.0
RESULTS := results/$(PROFILE)
# `make -n reproduce` prints the study's plan: snakemake runs under -n as well, and does nothing itself.
DRY := $(if $(findstring n,$(firstword -$(MAKEFLAGS))),--dry-run)
WHERE = $(if $(CLUSTER),workflow/clusters/$(CLUSTER),workflow/clusters/local --cores $(JOBS))
SNAKEMAKE = $(BIN)/snakemake --profile $(WHERE) $(DRY)
SETTINGS = profile=$(PROFILE) $(if $(SEEDS),seeds="[$(SEEDS)]") $(if $(DATA),source="@$(DATA)")
FETCH = $(BIN)/python workflow/real.py data/real $(if $(REAL),--real "$(REAL)")
PATIENTS := data/real/patients
NOTEBOOKS = $(wildcard notebooks/*.ipynb notebooks/*/*.ipynb)

.PHONY: help env reproduce smoke figures ablations shifts methods real confirm report site test bench verify tolerances reference numbers networks \
  cards method lab lint strip lock clean $(PATIENTS)

help: ## List what make can do (this list)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo "  For those who change essim:"
	@awk -F ':.*#: ' '/^[a-z]+:.*#: / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@echo "  Settings: PROFILE=smoke|pretrained|laptop|networks|gpu|paper|real|confirm ($(PROFILE))  JOBS=cores ($(JOBS))  SEEDS=0,1,2 (one study each)"
	@echo "            CLUSTER=slurm for one batch job per step (docs/cluster.md)"
	@echo "            DATA=path of your own scans (docs/own-data.md)  REAL=folder of the scans of make real"
	@echo "            make -n reproduce: the plan, nothing runs"

env: .venv/stamp ## Build .venv from constraints.txt; TORCH_INDEX=<address> takes torch from an index of your choice

.venv/stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "essim needs Python 3.11 or newer: make env PYTHON=python3.11")'
	@echo "Making .venv: some 2.5 GB of packages, two to five minutes."
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet -c constraints.txt --index-url "$(TORCH_INDEX)" torch)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

reproduce: .venv/stamp ## Every table and figure of the study; resumes where it stopped
	+@$(SNAKEMAKE) --config $(SETTINGS)

smoke: .venv/stamp ## The whole study in minutes, as small as it can be
	+@$(SNAKEMAKE) --config profile=smoke

figures: .venv/stamp ## Redraw the figures, first running what they need
	+@$(SNAKEMAKE) --forcerun figures --config $(SETTINGS)

# Pretrained networks were trained on many noising steps: unless the caller sets PROFILE, it is theirs.
ablations: PROFILE := $(if $(filter file,$(origin PROFILE)),pretrained,$(PROFILE))
ablations: .venv/stamp ## What each choice of the study does, one figure each, nothing trained (PROFILE=pretrained)
	+@$(SNAKEMAKE) ablations --config $(SETTINGS)

shifts: PROFILE := $(if $(filter file,$(origin PROFILE)),pretrained,$(PROFILE))
shifts: .venv/stamp ## When SSIM overtakes l1: scanners moved away from the training's step by step (PROFILE=pretrained)
	+@$(SNAKEMAKE) shifts --config $(SETTINGS)

methods: PROFILE := $(if $(filter file,$(origin PROFILE)),pretrained,$(PROFILE))
methods: .venv/stamp $(filter $(PATIENTS),$(DATA:%/=%)) ## The field's methods: every reconstructor under every score, and what each costs (PROFILE=pretrained)
	+@$(SNAKEMAKE) methods --config $(SETTINGS)

# The heads and patients of `make real` as a source of scans, made or brought up to date when DATA names it.
$(PATIENTS): .venv/stamp
	@$(FETCH)
	+@$(SNAKEMAKE) $@ --config profile=real

# Every time, a script first fetches what is missing; if nothing is, nothing runs again.
real: .venv/stamp ## Public scans scored by networks from grown and real heads: 119 MB, or REAL=folder of them (results/real)
	@$(FETCH)
	+@$(SNAKEMAKE) --config profile=real

confirm: .venv/stamp ## The study's claims on 400 fresh patients, with tests declared beforehand (results/confirm)
	+@$(SNAKEMAKE) --config profile=confirm

report: .venv/stamp ## Put the finished study on one page to read offline: results/<profile>/report.html
	@$(BIN)/python workflow/report.py $(PROFILE) --data "$(DATA)"

site: .venv/stamp ## Run the teaching path, and put it and the finished study on a site: results/<profile>/site/index.html
	+@$(SNAKEMAKE) walkthrough --config $(SETTINGS)
	@$(BIN)/python workflow/website.py $(PROFILE) --data "$(DATA)"

# Without a GPU, Triton's kernels are tested in its interpreter. Triton isn't part of the environment: a CUDA build of
# torch brings its own version, and without it the environment is a gigabyte smaller.
.venv/triton: .venv/stamp
	@if [ "$$(uname -sm)" = "Linux x86_64" ] && ! $(BIN)/python -c 'import triton' 2>/dev/null; then \
	  $(BIN)/python -m pip install --quiet triton==$(TRITON); fi
	@touch $@

test: .venv/triton ## All tests, the smoke study among them
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: .venv/stamp #: Speed and memory of score, network and training, compared with other libraries (results/bench)
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	@$(BIN)/python benchmarks/ssim.py
	@$(BIN)/python benchmarks/unet.py
	@$(BIN)/python benchmarks/training.py
	@$(BIN)/python benchmarks/page.py

verify: .venv/stamp ## Compare the results with the reference, number by number
	@$(BIN)/python workflow/verify.py check $(RESULTS) results/reference/$(PROFILE)

tolerances: .venv/stamp #: Train with two more seeds and write the tolerances that follow from the three
	@$(SNAKEMAKE) --config profile=$(PROFILE) seeds="[0,1,2]"
	@$(BIN)/python workflow/verify.py fit results/reference/$(PROFILE) $(RESULTS) $(RESULTS)-seed1 $(RESULTS)-seed2

reference: .venv/stamp #: Make the present results the reference
	@$(BIN)/python workflow/verify.py keep $(RESULTS) results/reference/$(PROFILE)

numbers: .venv/stamp #: Update the numbers in README, docs and the notebooks' text, each from its table
	@$(BIN)/python workflow/numbers_in_prose.py

# Heads grown from real ones have data, results and networks of their own.
KIND := $(if $(ANATOMIES),anatomies,networks)
GROWN := $(if $(ANATOMIES),cohort="{anatomies: $(ANATOMIES)}" data=data/anatomies results=results/anatomies)
networks: .venv/stamp #: Retrain the networks of models/, for PROFILE=pretrained; ANATOMIES=folder: on heads grown from real ones
	+@$(SNAKEMAKE) --until healthy baselines --config profile=networks $(GROWN)
	@$(BIN)/python workflow/verify.py release results/$(KIND) models/$(if $(ANATOMIES),anatomies,laptop)

cards: .venv/stamp #: Rewrite the card of each network in models/ from the committed tables
	@$(BIN)/python workflow/cards.py

method: .venv/stamp #: Redraw the picture at the top of the README, from a run with a network of models/
	@$(BIN)/python workflow/method.py results/reference/method

lab: .venv/stamp ## Open JupyterLab on the notebooks
	@$(BIN)/jupyter lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks \
		$(if $(filter 0,$(shell id -u)),--allow-root)

lint: .venv/stamp #: Check the code's style and that notebooks are stored without outputs
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/nbstripout --keep-id --verify $(NOTEBOOKS)

strip: .venv/stamp #: Remove the outputs from the stored notebooks
	@$(BIN)/nbstripout --keep-id $(NOTEBOOKS)

lock: #: Update constraints.txt to the newest versions that fit together
	rm -rf .lock
	$(PYTHON) -m venv .lock
	.lock/bin/python -m pip install --quiet --upgrade pip
	$(if $(TORCH_INDEX),.lock/bin/python -m pip install --quiet --index-url "$(TORCH_INDEX)" torch)
	.lock/bin/python -m pip install --quiet --prefer-binary -e ".[dev,bench,strip,strip-t2]"
	@# No addresses, no build labels (torch's +cpu) and nothing of CUDA: the list must serve every machine.
	( echo '# Every version of the environment, from `make lock`.  pip install -c constraints.txt -e ".[dev]"'; \
	  .lock/bin/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' | \
	  sed 's/+.*//' | grep -viE '^(essim|nvidia|cuda|triton)' ) > .lock/constraints.txt
	mv .lock/constraints.txt constraints.txt
	rm -rf .lock

clean: ## Remove the profile's data and results (not .venv, not the reference)
	@for folder in data/$(PROFILE) $(RESULTS) $(RESULTS).yaml $(RESULTS)-seed*; do \
	  if [ -e "$$folder" ]; then rm -rf "$$folder" && echo "removed $$folder"; fi; done
