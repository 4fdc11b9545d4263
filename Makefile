# The two commands of a newcomer are `make demo` and `make test`.
PYTHON ?= python3
CORES ?= all
# many tests wait for servers: a small machine takes more of them at once than it has processors;
# those of tests/unit do not, and each worker imports everything
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); \
  echo $$((n < 4 ? $(if $(filter-out tests/unit%,$(or $(TESTS),tests)),2,1) * n : n)))
DIR ?= .
VENV = .venv
# An environment that somebody else looks after, such as conda's of envs/workflow.yaml: its folder.
# Nothing is installed then. What tests and checks need is in .venv all the same.
CT_COHORT_ENV ?= $(VENV)
BIN = $(CT_COHORT_ENV)/bin

.PHONY: help env directory slurm merge demo table test mutants coverage chaos fuzz damage lint status page explain verify prune purge guard release check-archive key lock
.DELETE_ON_ERROR:

help:
	@echo "make demo             set up and run the whole workflow on a small made-up hospital"
	@echo "make test             set up and run the tests"
	@echo "make table FROM=... DIR=...   a starter reports.csv of a tree of DICOM files"
	@echo "make env              only set up .venv"
	@echo "make slurm            add what the profiles for schedulers need to .venv"
	@echo "CT_COHORT_ENV=...     an environment that is there already, instead of .venv (docs/hpc.md)"
	@echo "make merge DIRS=... INTO=...   one data set of the partitions' working directories"
	@echo "make status DIR=...   what exists now in a working directory, at any time"
	@echo "make page DIR=...     report.html of a working directory, from what is there"
	@echo "make explain ACCESSION=... DIR=...   the whole story of one scan, and how to redo it"
	@echo "make verify DIR=... [RAW=yes]   prove a data set against its manifest"
	@echo "make prune DIR=... [DELETE=yes]   what is no longer in the cohort"
	@echo "make purge ACCESSION=... (or MRN=...) DIR=... [DELETE=yes]   withdrawn consent"
	@echo "make guard DIR=...    search a working directory for identifiers where none may be"
	@echo "make release DIR=...  release/: volumes and a table without identity"
	@echo "make check-archive ACCESSION=... DIR=...   try the archive of a working directory's config"
	@echo "make key KEY=...      make the private key that names patients"
	@echo "make mutants          one-line mistakes that the unit tests do not notice"
	@echo "make coverage         the tests, and which lines and branches they reach"
	@echo "make chaos            up to 500 injected faults, counted in docs/reliability.md"
	@echo "make fuzz             up to 20,000 mutants of everything parsed from outside, likewise"
	@echo "make damage           damaged pixels in every encoding, likewise"
	@echo "make lint             what CI checks besides the tests"
	@echo "make lock             renew the lock files"

ifeq ($(CT_COHORT_ENV),$(VENV))
env: $(VENV)/.run
slurm: $(VENV)/.slurm
else
env:
	@test -x "$(BIN)/python" -a -x "$(BIN)/snakemake" || \
	  { echo 'error: CT_COHORT_ENV: $(CT_COHORT_ENV) has no bin/python and bin/snakemake; expected the folder of an environment made from envs/workflow.yaml'; exit 1; }
slurm: env
	@$(BIN)/python -c 'import snakemake_executor_plugin_slurm' || \
	  { echo 'error: CT_COHORT_ENV: $(CT_COHORT_ENV) has no snakemake-executor-plugin-slurm; install it there (bioconda has it)'; exit 1; }
endif

$(VENV)/.run: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.slurm: requirements-slurm.lock $(VENV)/.run
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-slurm.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

demo: env
	@$(BIN)/python scripts/make_demo.py demo
	@echo "running the workflow on demo/ ..."
	@$(BIN)/snakemake --directory demo --cores $(CORES) --quiet reason host -- all report.html
	@echo
	@echo "volumes   demo/processed/*.npz"
	@echo "manifest  demo/manifest.csv"
	@echo "pictures  demo/qc/*.png"
	@echo "page      demo/report.html: open it in a browser"

# it reaches the command by the environment, as it was typed: make expands no $ in it
override FROM := $(value FROM)
export FROM

table: env directory
	@$(BIN)/python scripts/make_table.py --directory "$(DIR)"

# thousands of processes would compile the package anew
test coverage mutants: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup $(TESTS)

mutants: $(VENV)/.dev
	$(VENV)/bin/python -m benchmarks.mutants.run $(MODULES)

coverage: $(VENV)/.dev
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(TESTS)

chaos: $(VENV)/.dev
	PYTHONPATH=scripts $(VENV)/bin/python -m tests.chaos.run --injections $(or $(INJECTIONS),500) $(if $(INJECTIONS),,--write)

damage: $(VENV)/.dev
	PYTHONPATH=scripts $(VENV)/bin/python -m tests.damage.run --write --real $(REAL)

fuzz: $(VENV)/.dev
	PYTHONPATH=scripts $(VENV)/bin/python -m tests.fuzz.run --mutants $(or $(MUTANTS),20000) $(if $(MUTANTS),,--write)

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/snakefmt --check Snakefile rules
	@test -x $(VENV)/bin/biome || echo 'skipped: biome has no build for this platform'
	test ! -x $(VENV)/bin/biome || $(VENV)/bin/biome ci --error-on-warnings
	$(VENV)/bin/snakemake --lint

directory:
	@test -d "$(DIR)" || { echo 'error: $(DIR) is not a directory; name one with DIR=...'; exit 1; }

status: env directory
	@$(BIN)/python scripts/status.py --directory "$(DIR)"

page: env directory
	@$(BIN)/python scripts/write_report.py --directory "$(DIR)"

# these reach the commands by the environment, as they were typed: make expands no $ in them
override ACCESSION := $(value ACCESSION)
override MRN := $(value MRN)
export ACCESSION MRN DELETE

explain: env directory
	@$(BIN)/python scripts/explain.py --directory "$(DIR)"

verify: env directory
	@$(BIN)/python scripts/verify.py --directory "$(DIR)" $(if $(RAW),--raw)

prune purge: env directory
	@$(BIN)/snakemake --directory "$(DIR)" --cores 1 --nolock --quiet all -- $@

guard: env directory
	@$(BIN)/snakemake --directory "$(DIR)" --cores $(CORES) --nolock --quiet all -- guard

# its input, manifest.csv, is locked by a run that is under way
release: env directory
	@$(BIN)/snakemake --directory "$(DIR)" --cores $(CORES) --quiet rules progress reason host -- release

check-archive: env directory
	@$(BIN)/snakemake --directory "$(DIR)" --cores 1 --nolock --quiet all -- check_archive

merge: env
	@test -n "$(DIRS)" -a -n "$(INTO)" || { echo 'say which: make merge DIRS="part-1 part-2" INTO=merged'; exit 1; }
	@$(BIN)/python scripts/merge_manifests.py $(INTO) $(DIRS)

key: env
	@test -n "$(KEY)" || { echo "say where: make key KEY=/a/safe/place/ct-cohort.key"; exit 1; }
	@$(BIN)/python scripts/make_key.py $(KEY)

lock: $(VENV)/.dev
	$(VENV)/bin/uv pip compile pyproject.toml --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" -o requirements.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra slurm -c requirements.lock --universal --fork-strategy fewest --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" -o requirements-slurm.lock
	$(VENV)/bin/uv pip compile pyproject.toml --extra slurm --extra dev -c requirements-slurm.lock --universal --fork-strategy fewest --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --quiet --custom-compile-command "make lock" -o requirements-dev.lock
