# make study: from an empty machine to data/report/index.html, for the study lr_crossover at scale pocket.
# make study STUDY=skydiving SCALE=pocket: another one; STUDY=all: every active study of the scale. make test: the tests.
PY ?= python3
STUDY ?= lr_crossover
SCALE ?= pocket
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export DO_NOT_TRACK := 1
# Tests on two cores, a module on one, and in the order of their names, as the long ones come first by it.
PARALLEL := -n 2 --dist loadscope --no-loadscope-reorder
test test-ci test-all: export OMP_NUM_THREADS := 1

.PHONY: site study test test-ci test-all lint bench decide gpu-pack gpu gpu-take calibrate keep foresee replay chaos fuzz mutants audit serve

study: .venv/.ok
	@echo "study $(STUDY) at scale $(SCALE): text, plan, training, gates, fits, page; what is there already is kept"
	targets="$$(python -m flows.studies.targets $(STUDY) $(SCALE))" && dvc --wait-for-lock repro $$targets
	dvc --wait-for-lock repro --single-item ridge verdicts report
	@python -m flows.studies.answer $(STUDY) $(SCALE)

test: .venv/.ok
	python -m pytest -m "not slow" $(PARALLEL)

test-ci: .venv/.ok
	python -m pytest -m "not long" --strict-skips $(PARALLEL)

test-all: .venv/.ok
	python -m pytest $(PARALLEL)

lint: .venv/.ok
	ruff check . && ruff format --check . && mypy && lint-imports

bench: .venv/.ok
	python -m tests.bench

# Real ladders as questions, from a folder laid out as tests/decide/ladders.py says. PAGE=1 writes docs/decide.md.
decide: .venv/.ok
	python -m tests.decide --data $(DATA) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(PAGE),--page --models)

# A GPU for ten minutes: pack here, run there (Python and torch are the machine's own), take here what came back.
gpu-pack: .venv/.ok
	python -m tests.gpu pack $(if $(STUDY),--study $(STUDY)) $(if $(MINIATURE),--miniature)

gpu:
	python3 -m tests.gpu run --out $(or $(OUT),found) --seconds $(or $(SECONDS),570) $(if $(ONLY),--only $(ONLY)) $(if $(MINIATURE),--miniature)

gpu-take: .venv/.ok
	python -m tests.gpu take $(DIR)

keep: .venv/.ok
	python -m tests.keep

foresee: .venv/.ok
	python -m tests.curves

calibrate: .venv/.ok
	python -m tests.calibration

replay: .venv/.ok
	python -m tests.replay

chaos: .venv/.ok
	python -m tests.faults

fuzz: .venv/.ok
	CROSSOVER_FUZZ=50000 CROSSOVER_FUZZ_LINES=200 python -m pytest tests/fuzz

mutants: .venv/.ok
	python -m tests.mutants

# The pages of docs/ as a site, offline, into site/.
site: .venv/.ok
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

audit: .venv/.ok
	uvx pip-audit --disable-pip --no-deps -r constraints.txt

serve: .venv/.ok
	exec crossover serve

.venv/.ok: pyproject.toml constraints.txt
	test -d .venv || $(PY) -m venv .venv
	@echo "installing what a checkout needs into .venv (torch is the largest part; a minute or two)"
	.venv/bin/pip install -q "uv>=0.8"
	.venv/bin/uv pip install -p .venv/bin/python -c constraints.txt -e . --group dev
	touch $@
