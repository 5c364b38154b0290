# Everything goes through "$(PY)" -m …: the scripts beside it break in a folder with a space.
PY := .venv/bin/python
# To make .venv with; where it is not given, tools/find_python.sh looks for one.
PYTHON ?=
COHORT ?= simulated
# Handed on through the environment, so that a path may hold spaces and quotes.
export PYTHON COHORT DATA RUN SEED ONLY FROM LGG_DATA HOURS FOLD SUBMISSIONS OUT JOBS
export CLUSTER WORKERS THREADS MODEL VARY GRID
OPTIONS = --cohort "$$COHORT" $(if $(DATA),--data "$$DATA") $(if $(RUN),--run "$$RUN") \
	$(if $(SEED),--seed "$$SEED") $(if $(ONLY),--only "$$ONLY") $(if $(FROM),--from "$$FROM")

# Where the tasks of evidence and sweep are done, see docs/cluster.md.
ON_CLUSTER = $(if $(CLUSTER),--cluster "$$CLUSTER") $(if $(WORKERS),--workers "$$WORKERS") \
	$(if $(THREADS),--threads "$$THREADS")

# Tests of one file share what they train, so they stay in one process. Each takes up to 2 GiB.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile
# The website has an environment of its own, with Sphinx and without TensorFlow.
SITE_PY := .venv-site/bin/python
# The instructors' edition differs in the answers alone; what it holds, tests/notebooks compares.
NOTEBOOKS := notebooks/*.ipynb
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout=1800
STORED := runs/stored_outputs.log

.DEFAULT_GOAL := help
.PHONY: help course check test notebooks lab demo evidence sweep grade bench site lock clean

help: ## say what there is
	@echo "usage: make TARGET [COHORT=lgg DATA=/path/to/kaggle_3m] [SEED=1] [ONLY=03 | FROM=03]"
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-12s%s\n", $$1, $$2}' Makefile

course: .venv/.installed ## run all notebooks into runs/COHORT, ending with a report
	@$(PY) -m utils.weights
	@$(PY) -m utils.run $(OPTIONS)

check: .venv/.installed ## lint, and the unit tests that do not take long: about 3 minutes
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not slow and not long" tests/unit

test: .venv/.installed ## lint, unit tests, structure of the notebooks, stored outputs
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	@echo 'The stored notebooks run beside the tests; what they say comes at the end ($(STORED)).'
	@mkdir -p runs; $(PY) -m pytest $(NBVAL) $(NOTEBOOKS) > $(STORED) 2>&1 & notebooks=$$!; \
		$(PY) -m pytest $(SIDE_BY_SIDE) tests; status=$$?; \
		wait $$notebooks || status=$$?; cat $(STORED); exit $$status

notebooks: .venv/.installed ## make both editions of the notebooks from notebooks/source
	@$(PY) -m utils.weights
	@$(PY) -m utils.notebooks $(if $(ONLY),--only "$$ONLY")

lab: .venv/.installed ## open JupyterLab at the first notebook
	$(PY) -m jupyterlab notebooks/01_explore.ipynb

demo: .venv/.installed ## build the page that segments in a browser tab into runs/demo
	@$(PY) -m tools.demo

evidence: .venv/.installed ## recompute results/lgg from the real cohort (DATA=..., HOURS=2, FOLD=3, CLUSTER=local)
	@test -n "$$DATA" || { echo 'error: say where the cohort lies: make evidence DATA=/path/to/kaggle_3m' >&2; exit 2; }
	@$(PY) -m utils.weights
	@$(PY) -m utils.evidence "$$DATA" --final $(if $(HOURS),--hours "$$HOURS") $(if $(FOLD),--fold "$$FOLD") \
		$(ON_CLUSTER)
	@$(PY) -m utils.published
	@$(PY) -m utils.notebooks --only 05
	@$(PY) -m utils.notebooks --only 06

# VARY has no quotes in the shell: each of its words is an argument of its own.
sweep: .venv/.installed ## train a model with each combination of values (MODEL=segmenter, VARY="rate=3e-4,1e-3")
	@test -n "$$VARY$$GRID" || { echo 'error: say what to vary: make sweep MODEL=segmenter VARY="rate=3e-4,1e-3 fn_weight=0.5,0.7"' >&2; exit 2; }
	@$(PY) -m utils.weights
	@$(PY) -m utils.sweep $(if $(MODEL),"$$MODEL",segmenter) $$VARY $(if $(GRID),--grid "$$GRID") \
		--cohort "$$COHORT" $(if $(DATA),--data "$$DATA") $(if $(RUN),--run "$$RUN") \
		$(if $(SEED),--seed "$$SEED") $(ON_CLUSTER)

grade: .venv/.installed ## mark students' notebooks (SUBMISSIONS=folder, OUT=marks.csv, JOBS=2)
	@test -n "$$SUBMISSIONS" || { echo 'error: say where the notebooks lie: make grade SUBMISSIONS=folder' >&2; exit 2; }
	@$(PY) -m utils.grade "$$SUBMISSIONS" $(if $(OUT),--out "$$OUT") $(if $(JOBS),--jobs "$$JOBS") \
		$(if $(filter 1,$(TRUST)),--trust)

bench: .venv/.installed ## measure how fast it is, in ratios, and write the README's table
	@$(PY) -m tools.benchmark

site: .venv-site/.installed docs/site/node_modules/.installed ## build the website into site/
	@$(SITE_PY) docs/site/build.py

lock: ## resolve all requirements*.lock anew (UPGRADE=1: with the newest versions)
	python=$$(sh tools/find_python.sh "$$PYTHON") && "$$python" -m venv runs/lock-venv
	runs/lock-venv/bin/python -m pip install -qq uv
	runs/lock-venv/bin/python -m uv pip compile --quiet pyproject.toml --extra test --extra cluster --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(if $(filter 1,$(UPGRADE)),--upgrade) -o requirements.lock
	runs/lock-venv/bin/python -m uv pip compile --quiet --group pyproject.toml:predict --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate \
		--constraints requirements.lock -o requirements-predict.lock
	runs/lock-venv/bin/python -m uv pip compile --quiet docs/site/requirements.in --universal \
		--python-version 3.11 --generate-hashes --no-header --no-annotate \
		$(if $(filter 1,$(UPGRADE)),--upgrade) -o requirements-site.lock
	rm -rf runs/lock-venv

clean: ## delete the simulated runs and cohorts (not .venv, downloads or other runs)
	rm -rf runs/simulated runs/notebooks data/simulated-*

# Where the system's Python was replaced by another, what was installed for the old one is not found.
$(shell $(PY) -c 'import pip' 2>/dev/null || rm -f .venv/.installed)
$(shell $(SITE_PY) -c 'import pip' 2>/dev/null || rm -f .venv-site/.installed)

# The stamp is as old as the lock it was made from, so that only a new lock makes it again.
.venv/.installed: requirements.lock
	@python=$$(sh tools/find_python.sh "$$PYTHON") || exit 2; \
		echo 'Making .venv from requirements.lock (a few minutes the first time).'; \
		"$$python" -m venv --clear .venv
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

.venv-site/.installed: requirements-site.lock
	@python=$$(sh tools/find_python.sh "$$PYTHON") || exit 2; \
		echo 'Making .venv-site from requirements-site.lock.'; \
		"$$python" -m venv --clear .venv-site
	@$(SITE_PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-site.lock
	@touch $@

# MathJax, which the site brings along, and axe, which looks for barriers in its pages.
docs/site/node_modules/.installed: docs/site/package-lock.json
	@npm ci --prefix docs/site --silent --no-audit --no-fund
	@touch $@
