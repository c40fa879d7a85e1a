# make            build, test, lint
# make help       this list
GO ?= go
BIN := bin/allclear

.PHONY: all help build test packages test-packages test-go test-example lint generate bench demo demo-database fuzz clean
all: build test lint ## build, test and lint

help: ## show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | expand -t 16

build: ## build the binary into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/allclear

packages: ## install what the demo needs (PostgreSQL, Redis, HAProxy, Prometheus, Exim, NSD, OpenSSH, git)
	@scripts/packages

test-packages: ## install what the tests need (the same, Chromium, Django, Alembic, ActiveRecord)
	@scripts/packages test

test: test-packages test-go test-example ## run every test

test-go: build ## run the tests of allclear itself
	$(GO) vet ./...
	$(GO) test ./...

test-example: ## run the tests of the example application
	cd examples/tulia && $(GO) vet ./... && $(GO) test ./...

lint: ## formatting, generated files, module file
	@scripts/lint

generate: ## regenerate the pages of the types and their schema
	$(GO) run ./internal/catalog/generate

bench: ## print our figures beside the peer or the limit
	@scripts/bench

demo: packages ## deploy a real application, see it go bad, roll it back
	@$(GO) run ./examples/demo

demo-database: packages ## catch a dangerous migration, rehearse it, apply a safe one under load
	@$(GO) run ./examples/demo -database

fuzz: ## run each fuzz target for half a million executions
	@scripts/fuzz 500000x

clean: ## remove what was built
	rm -rf bin
