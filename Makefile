# The two commands of a newcomer are `make run` and `make test`; both do all their own set-up. Needs root.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run setup setup-test test soak bench lint format lock vendor translations image test-image clean

# Where the appliance keeps everything: make run STATE=/srv/dpe
STATE ?=
# Go on with less memory or disk than README.md says: make run UNDERSIZED=yes
UNDERSIZED ?=
# The tests of one marker: make test MARK=firstpath
MARK ?=
# One benchmark, or items of the long tests: make bench ONLY=claim, make soak ONLY=storm,kills
ONLY ?=
# Long tests that have passed already, once more: make soak AGAIN=yes
AGAIN ?=

# The scenario of the image, and how it is made: make image SCENARIO=notebook KEYS=/root/keys VERSION=1.2.0 BUILD=/var/cache/dpe-image
SCENARIO ?= notebook
BUILD ?=
KEYS ?=
VERSION ?=
# Bake no seeds: make image SEEDS=no. The disk alone, neither compressed nor signed, in a few seconds: make image QUICK=yes
SEEDS ?=
QUICK ?=

ifneq ($(STATE),)
export DPE_STATE := $(STATE)
endif
export UNDERSIZED
python := .venv/bin/python

help: ## Say what can be made (this text)
	@echo 'Usage: make TARGET [NAME=value]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name text; do printf '%-16s %s\n' "$$name" "$$text"; done
	@echo 'Settings are environment variables, like DPE_HTTPS_PORT=443 make run; appliance/README.md lists them.'

run: setup ## Run the appliance in the foreground; Ctrl-C stops it. STATE=DIR keeps it elsewhere than /var/lib/dpe
	@exec $(python) -m appliance.supervisor

setup: ## Install what the appliance needs (packages, users, Python); `make run` does it by itself
	@image-build/setup.sh run

setup-test: ## Install what the tests need besides; `make test` does it by itself
	@image-build/setup.sh test

test: setup-test ## Run linters and all tests. MARK=NAME runs only the tests of one marker, like MARK=firstpath
	@exec $(python) -m tests $(if $(MARK),'$(MARK)')

soak: setup-test ## Run in full what `make test` runs in small, and the image's tests: hours. Goes on where it was stopped; ONLY=, AGAIN=yes
	@exec $(python) -m tests.soak $(if $(ONLY),--only '$(ONLY)') $(if $(filter yes,$(AGAIN)),--again)

bench: setup-test ## Run the benchmarks, one JSON object a line. ONLY=NAME runs one, like ONLY=claim
	@exec $(python) -m tests.bench $(ONLY)

lint: setup-test ## Run the linters alone
	@exec $(python) -m pytest -q tests/unit/repository/test_lint.py

format: setup-test ## Format the code and mend what the linters can mend
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

translations: setup ## Bring the files of translations up to date, and list the texts that have none
	@exec $(python) -m webui.texts

lock: setup-test ## Choose the newest Python packages that pyproject.toml allows, and lock them with their hashes
	@image-build/lock.sh

image: setup ## Make the bootable image of a SCENARIO in build/, with its manifest and signed update bundle
	@PYTHONPATH=. $(python) image-build/build.py $(SCENARIO) $(if $(BUILD),--build $(BUILD)) $(if $(KEYS),--keys $(KEYS)) $(if $(VERSION),--version $(VERSION)) \
	  $(if $(filter no,$(SEEDS)),--no-seeds) $(if $(QUICK),--quick)

test-image: setup-test ## Boot the image in QEMU and use it; makes the tests' small image first. MARK= and ONLY= as above
	@exec $(python) -m pytest tests/image $(if $(MARK),-m '$(MARK)') $(if $(ONLY),-k '$(ONLY)')

vendor: ## Take the web page's assets anew from their locked packages, after changing versions or icons; needs npm
	@webui/vendor.sh

clean: ## Remove what can be made again; never touches the appliance's state
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache test-results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
