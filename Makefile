# `make` prints what there is. Every target that needs the environment calls `setup` first, which does nothing if all is in place.
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
PACKAGES := gateway drivers simulators
PROOFS := tests/faults tests/fuzz tests/soak tests/package tests/gateway/devices/test_hotplug.py \
	$(addprefix tests/gateway/upstream/test_, fuzz.py week.py cluster.py) $(addprefix tests/e2e/test_, \
	kill_under_load.py plugging.py disk_faults.py clock_jumps.py memory_limit.py hostile_neighbours.py broker_outage.py)
export PYTHON

.PHONY: help pictures setup demo test prove soak sim bench scale relaying lint format types imports check generated asyncapi openapi upstream-asyncapi console-openapi schema licences \
	lock deb clean

help: ## what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: ## install what is missing: Debian parts, .venv with the locked dependencies
	@scripts/setup

demo: setup ## a simulated venue with a story, then a live view until Ctrl-C
	@exec $(BIN)/venue-gateway demo

# The tests start a thousand processes, and without bytecode on disk each of those compiles the gateway anew.
test prove soak: export PYTHONDONTWRITEBYTECODE :=
test: ## every test, end to end ones included; at most 12 minutes on two cores
	@scripts/setup tests
	$(BIN)/python -m pytest tests --ignore tests/e2e -n 2 --session-timeout=720 $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/e2e -m timed --session-timeout=720 $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/e2e -m "not timed" -n 2 --dist loadfile --no-loadscope-reorder --session-timeout=720 $(PYTEST_ARGS)

prove: ## all of it at full length, hours of it: simulation, power loss, faults, hostile neighbours, fuzz, soak
	@VENUE_PROVE=1 scripts/setup tests
	$(BIN)/python -m tests.simulation --mutants
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),20000)
	VENUE_PROVE=1 $(BIN)/python -m pytest $(PROOFS) -rA $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/gateway tests/drivers tests/simulators -m hypothesis --hypothesis-profile=thorough \
		--timeout=3600
	$(BIN)/python -m tests.soak --hours $(or $(HOURS),1)

soak: setup ## a whole venue with faults for HOURS=0.2; memory, descriptors, WAL and disk must stay level
	@$(BIN)/python -m tests.soak --hours $(or $(HOURS),0.2) $(if $(SEED),--seed $(SEED))

sim: setup ## the whole gateway on a virtual clock; SEEDS=2000 of them, or SEED=7 in full, or MUTANTS=1
	@$(BIN)/python -m tests.simulation $(if $(MUTANTS),--mutants,$(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000)))

bench: setup ## measure; prints a table and writes benchmarks/latest.json
	$(BIN)/python -m benchmarks

scale: setup ## a million wallets and three million entitlements: memory and start of the real daemon
	$(BIN)/python -m benchmarks.scale

relaying: setup ## measure what a backlog and a new directory cost; writes benchmarks/upstream.json
	$(BIN)/python -m benchmarks.upstream

pictures: ## take the pictures of console and tablet in docs/pictures anew, in a real Chromium
	@scripts/setup tests
	CONSOLE_PICTURES=docs/pictures $(BIN)/python -m pytest tests/e2e/test_console_browser.py tests/e2e/test_tablet_browser.py -q

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## let ruff write the format and the safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy, strict
	$(BIN)/mypy

imports: setup ## the direction of imports
	$(BIN)/lint-imports --no-logo

generated: setup ## whether generated files are those of this code
	scripts/generated --check

deb: setup ## dist/*.deb for amd64 and arm64: self-contained, needs a network to build and none to install
	scripts/deb

check: lint types imports generated ## all of the four above

asyncapi: setup ## write docs/asyncapi.yaml from the message types
	scripts/generated docs/asyncapi.yaml

openapi: setup ## write docs/upstream.openapi.yaml from the types of the contract with upstream
	scripts/generated docs/upstream.openapi.yaml

upstream-asyncapi: setup ## write docs/upstream.asyncapi.yaml: the same contract over MQTT and JetStream
	scripts/generated docs/upstream.asyncapi.yaml

console-openapi: setup ## write docs/console.openapi.yaml from the routes and types of the console
	scripts/generated docs/console.openapi.yaml

schema: setup ## write config/gateway.schema.json from the configuration types
	scripts/generated config/gateway.schema.json

licences: setup ## write docs/licences.md; asks the package index for aarch64 wheels
	$(BIN)/python scripts/licences.py --write

lock: ## resolve the ranges of pyproject.toml anew; LOCK_ARGS=--upgrade for newer versions
	scripts/lock $(LOCK_ARGS)

clean: ## remove .venv, caches and what runs left behind
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks build dist
	find $(PACKAGES) tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +
