# "make test" is everything CI checks; "make help" lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build

CACHE := $(CURDIR)/.cache
export TOOLS := $(CACHE)/tools
export ROTATORD_VAULT_BIN ?= $(CACHE)/vault-1.21.2

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
SCRIPTS := test/scripts
STAGES := setup tools vault npm lint unit-check rules-check test-go test-race crash-sweep image

## build: the binary, ./rotatord
.PHONY: build
build:
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o rotatord ./cmd/rotatord

## test: all of it, on a bare Debian 12 with Go; sets up what it needs first
.PHONY: test
test:
	@$(SCRIPTS)/all.sh $(STAGES)

## test-go: go test ./... with nothing skipped (the real Vault too)
.PHONY: test-go
test-go: tools vault
	@$(SCRIPTS)/gotest.sh ./...

## test-race: the concurrent packages under the race detector
.PHONY: test-race
test-race: tools vault
	@$(SCRIPTS)/gotest.sh -race $(RACE_PACKAGES)

# The sweep is one goroutine in fake time, and many times as slow under the detector.
RACE_PACKAGES ?= $(shell go list ./internal/... ./cmd/... | grep -v /crashsweep)

## lint: format, vet, go fix, golangci-lint, file lengths, shell scripts
.PHONY: lint
lint: tools
	@$(SCRIPTS)/lint.sh

## bench: the benchmarks, then every claim of speed and size with its limit
.PHONY: bench
bench: vault
	@$(SCRIPTS)/bench.sh

## demo: whole rotations in a minute, on an emulated portal
.PHONY: demo
demo:
	go run ./cmd/rotatord demo

## crash-sweep: every effect with every fault, and all ordered pairs of them; every request of every lifecycle command
.PHONY: crash-sweep
crash-sweep:
	ROTATORD_SWEEP=full go test -count=1 -timeout 40m -v ./internal/crashsweep ./test/lifecycle | grep -vE '^ *(=== |--- PASS)'

## torture: the built daemon under SIGKILL, a real Vault and faults, KILLS times (1000); SEED repeats a run
.PHONY: torture
KILLS ?= 1000
torture: vault
	ROTATORD_TEST_ALL=1 ROTATORD_KILLS=$(KILLS) ROTATORD_SEED=$(SEED) go test -count=1 -timeout 90m -v -run TestTorture ./test/torture

## mutants: a bug planted for each rule of the protocol, and which test notices
.PHONY: mutants
mutants:
	go run ./test/mutants

## fuzz-short: each fuzz target for FUZZTIME (10s)
.PHONY: fuzz-short
FUZZTIME ?= 10s
fuzz-short:
	@$(SCRIPTS)/fuzz.sh $(FUZZTIME)

## unit-check: the systemd units (verified, hardened), their user and folders
.PHONY: unit-check
unit-check:
	@$(SCRIPTS)/unit-check.sh

## rules-check: Prometheus rules, their tests, and the exposed metrics
.PHONY: rules-check
rules-check:
	@$(SCRIPTS)/rules-check.sh

## image: the container image, built and started as its own user
.PHONY: image
image:
	@VERSION=$(VERSION) $(SCRIPTS)/image.sh

## setup: Debian packages that the checks need
.PHONY: setup
setup:
	@$(SCRIPTS)/setup.sh

## vault: the real Vault server that tests use, in .cache
.PHONY: vault
vault: $(CACHE)/vault-1.21.2

$(CACHE)/vault-1.21.2: test/vaultbin/go.mod test/vaultbin/go.sum
	CGO_ENABLED=0 go build -C test/vaultbin -tags minimal -trimpath -ldflags '-s -w' -o $@ github.com/hashicorp/vault
	@touch $@

## npm: the portal's stock JavaScript clients and axe-core, for the conformance tests
.PHONY: npm
npm:
	npm ci --prefix test/npm --no-audit --no-fund --ignore-scripts

## tools: golangci-lint and others, as pinned in tools/go.mod, in .cache
.PHONY: tools
tools: $(TOOLS)/.built

$(TOOLS)/.built: tools/go.mod tools/go.sum
	cd tools && GOBIN=$(TOOLS) go install -trimpath tool
	@touch $@

## vuln: known vulnerabilities that the code reaches (needs the network)
.PHONY: vuln
vuln: tools
	$(TOOLS)/govulncheck ./...

## clean: what make has built, but for .cache
.PHONY: clean
clean:
	rm -rf rotatord dist

## help: this list
.PHONY: help
help:
	@sed -n 's/^## //p' Makefile | sort | awk -F': ' '{printf "  %-12s %s\n", $$1, $$2}'
