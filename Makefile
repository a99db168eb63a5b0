# Every target brings what it needs, by apt as root or through sudo.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
# Where Debian puts HAProxy, which is not on the PATH of ordinary users.
export PATH := $(PATH):/usr/sbin:/sbin

SOURCES := $(shell find haproxy haproxy_ingress -name '*.py' -o -name py.typed)
PACKAGING := setup.cfg pyproject.toml scripts/venv

.PHONY: demo test test-matrix bench clean

demo: .venv/.installed
	@scripts/system-packages curl haproxy
	@exec .venv/bin/python examples/quickstart/demo.py

test: .venv/.tools
	@scripts/system-packages curl haproxy
	@.venv/bin/tox -qq

test-matrix: .venv/.tools
	@.venv/bin/tox -qq -e matrix

bench: .venv/.installed
	@scripts/system-packages haproxy
	@for script in benchmarks/*.py; do echo "--- $$script"; .venv/bin/python "$$script"; done

clean:
	rm -rf .venv .tox build *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/.installed: $(SOURCES) $(PACKAGING)
	@scripts/system-packages venv
	@echo "installing into .venv" >&2
	@scripts/venv
	@touch $@

# Tests run against what tox builds and installs, so changed sources ask for nothing here.
.venv/.tools: $(PACKAGING)
	@scripts/system-packages venv
	@echo "installing tox into .venv" >&2
	@scripts/venv dev
	@touch $@
