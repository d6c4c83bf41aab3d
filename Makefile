# `make help` lists what can be done. All state lives in .allatt/ and, where no environment is active, .venv/.

SCALE ?= auto
CORPUS ?=
SEED ?= 0
SEEDS ?= 1
NOTEBOOKS ?=
PARAMS ?=
ROUNDS ?= 24
KILLS ?= 120
export SCALE CORPUS SEED SEEDS NOTEBOOKS PARAMS ROUNDS KILLS

# Waiting threads spin for a moment, then sleep: as fast as spinning on, and 5 to 20 times faster where cores are shared.
export GOMP_SPINCOUNT ?= 10000
# Large pages for malloc, on Linux: training on a CPU is faster.
export GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1

# The active virtual or conda environment (not conda's base); else .venv, made with $(PYTHON).
PYTHON ?= python3
ENVIRONMENT := $(or $(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)),$(CURDIR)/.venv)
BIN := $(ENVIRONMENT)/bin
export ENVIRONMENT PYTHON

# Done once: the stamp holds a checksum of what was installed, and the folder that it came from. pip compiles on one core,
# compileall on all; it also fails for files that some packages have for other versions of Python, which matter to nobody.
define SETUP
set -e; here="$(CURDIR)"; stamp="$$ENVIRONMENT/.allatt-installed"; \
want="$$(cat requirements.lock.txt requirements.hashes.txt pyproject.toml | cksum) $$here"; \
if [ -f "$$stamp" ] && [ "$$(cat "$$stamp")" = "$$want" ]; then exit 0; fi; \
python="$$ENVIRONMENT/bin/python"; version='import sys; print("%d.%d" % sys.version_info[:2])'; \
old='import sys; sys.exit(sys.version_info >= (3, 11))'; \
if ! "$$python" -m pip --version >/dev/null 2>&1; then \
	if [ "$$ENVIRONMENT" != "$$here/.venv" ]; then \
		"$$python" -m ensurepip >/dev/null 2>&1 || \
			{ echo "allatt: the active environment $$ENVIRONMENT has no pip; install it there, or deactivate it" >&2; exit 2; }; \
	else \
		command -v "$$PYTHON" >/dev/null || \
			{ echo "allatt: there is no $$PYTHON; install Python 3.11 or later, or name it: make env PYTHON=..." >&2; exit 2; }; \
		if "$$PYTHON" -c "$$old"; then \
			echo "allatt: needs Python 3.11 or later, $$PYTHON is $$("$$PYTHON" -c "$$version");" \
				"name a newer one: make env PYTHON=python3.12" >&2; exit 2; \
		fi; \
		"$$PYTHON" -m venv --clear "$$here/.venv" || \
			{ echo "allatt: $$PYTHON cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }; \
	fi; \
fi; \
if "$$python" -c "$$old"; then \
	echo "allatt: needs Python 3.11 or later, the active environment has $$("$$python" -c "$$version");" \
		"deactivate it, or make a newer one" >&2; exit 2; \
fi; \
echo "Installing $$(grep -c == requirements.lock.txt) packages into $$ENVIRONMENT (once; some minutes)"; \
rm -f "$$stamp"; \
"$$python" -m pip install --quiet --disable-pip-version-check --no-compile -c requirements.lock.txt torch && \
"$$python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.hashes.txt && \
"$$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable . || \
	{ echo "allatt: pip could not install; its message is above. Fix that, then run make again" >&2; exit 2; }; \
"$$python" -m compileall -qq -j 0 -x /tests/ "$$("$$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" || true; \
printf '%s' "$$want" >"$$stamp"
endef

.DEFAULT_GOAL := help
.PHONY: help env reproduce status figures report bench test rehearsal site site-test soak lint notebooks lab clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1@\2/p' Makefile | awk -F@ '{ printf "%-18s%s\n", $$1, $$2 }'
	@echo
	@echo 'Variables: SCALE=auto|smoke|laptop|overnight|gpu|paper  CORPUS=name or folder  SEED=0  SEEDS=3 (that many, from SEED on)'
	@echo '           NOTEBOOKS="05 07"  PARAMS="lam=0.1"'

env: ## set up the environment: the active one, else .venv
	@$(SETUP)

reproduce: env ## run the notebooks, make the figures and tables (continues where it stopped)
	@exec "$(BIN)/python" -m allatt reproduce --stop-with-parent --scale "$$SCALE" --corpus "$$CORPUS" --seed "$$SEED" \
		--seeds "$$SEEDS" --notebooks "$$NOTEBOOKS" --params "$$PARAMS"

status: env ## show each notebook's state, time, peak memory and headline number
	@exec "$(BIN)/python" -m allatt status $(if $(filter-out auto,$(SCALE)),--scale "$$SCALE")

figures: env ## redraw the figures from their results, without training
	@exec "$(BIN)/python" -m allatt figures $(if $(filter-out auto,$(SCALE)),--scale "$$SCALE")

report: env ## write the report of a scale's claims, as one HTML file beside its figures
	@exec "$(BIN)/python" -m allatt report $(if $(filter-out auto,$(SCALE)),--scale "$$SCALE") --corpus "$$CORPUS" \
		--seed "$$SEED" --seeds "$$SEEDS"

bench: env ## compare speed and memory with the reference path and x-transformers
	@exec "$(BIN)/python" -m allatt bench --rounds "$$ROUNDS"

test: env ## lint, unit tests, and the committed notebooks as tests
	@failed=0; \
	$(MAKE) --no-print-directory lint || failed=1; \
	"$(BIN)/python" -m pytest -q -n auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder --nbval-lax --nbval-current-env \
		--ignore=notebooks/solutions notebooks tests || failed=1; \
	exit $$failed

rehearsal: env ## try what size, hubs, exports and clouds do, before somebody pays for it (6 to 9 minutes, 5 GB of disk)
	@exec "$(BIN)/python" tests/rehearsal/rehearsal.py

site: env ## render the executed notebooks into notebooks/site/build/html: search, mathematics, downloads
	@"$(BIN)/python" -c "import myst_nb, sphinx_book_theme" 2>/dev/null || "$(BIN)/python" -m pip install --quiet \
		--disable-pip-version-check --no-deps --require-hashes -r notebooks/site/requirements.txt || \
		{ echo "allatt: pip could not install the site's packages; its message is above. Fix that, then run make again" >&2; exit 2; }
	@exec "$(BIN)/python" notebooks/site/build.py

site-test: site ## open every page of the site in Chromium, at the widths of a desk and of a phone
	@exec "$(BIN)/python" tests/site/check_site.py

soak: env ## kill runs at random and at every file event, and compare what comes out (half an hour)
	@exec "$(BIN)/python" tests/soak/soak.py --kills "$$KILLS"

lint: env ## check the style (ruff) and the order of the modules (import-linter)
	@failed=0; \
	"$(BIN)/python" -m ruff check . || failed=1; \
	"$(BIN)/lint-imports" --no-logo || failed=1; \
	exit $$failed

notebooks: env ## execute the committed notebooks in place at the smoke scale, and clean them
	@exec "$(BIN)/python" -m allatt notebooks --notebooks "$$NOTEBOOKS"

lab: env ## open JupyterLab
	@exec "$(BIN)/python" -m jupyter lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks

clean: ## remove caches; keeps .venv, corpora, runs and figures
	@rm -rf notebooks/site/build .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist allatt.egg-info
	@find allatt tests notebooks -name __pycache__ -prune -exec rm -rf {} + 
	@find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +
