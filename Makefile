# Weir: every target is a command that you could type yourself.

GO     ?= go
PKGS    = ./...
UNIT    = ./services/... ./loadgen/... ./migrations/... ./openapi/... ./bench/...

.DEFAULT_GOAL := help
.PHONY: help up down images api consumer ingestion migrate test test-unit race chaos overload lint generate verify bench bench-sweep bench-capacity bench-overload bench-soak bench-query bench-live bench-plan bench-compare microbench binaries dist

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-11s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## Run everything here: Redis, TimescaleDB and the three services with the generator on, until Ctrl-C
	@$(GO) build -o bin/weir-up ./e2e/cmd/weir-up
	@bin/weir-up

down: ## Remove all containers of make up, the tests and the benchmark, also those of runs that still go on
	@$(GO) run ./e2e/harness/cmd/down

images: ## Pull the images of Redis and TimescaleDB, or build them when no registry answers
	@$(GO) run ./e2e/harness/cmd/images

api: ## Run the api service alone (REDIS_URL and POSTGRES_URL from the environment or .env)
	@$(GO) build -o bin/weir-api ./services/api/cmd/weir-api
	@bin/weir-api

consumer: ## Run the consumer service alone
	@$(GO) build -o bin/weir-consumer ./services/consumer/cmd/weir-consumer
	@bin/weir-consumer

ingestion: ## Run the ingestion service alone
	@$(GO) build -o bin/weir-ingestion ./services/ingestion/cmd/weir-ingestion
	@bin/weir-ingestion

migrate: ## Bring the database at POSTGRES_URL to the newest schema
	@$(GO) run ./migrations/cmd/weir-migrate up

test: ## Run all tests: unit, integration and end to end, on real servers
	@$(GO) vet $(PKGS) # compiles all before anything runs: tests with faults have to keep time
	@$(GO) run github.com/oasdiff/oasdiff@v1.36.0 --version > /dev/null # which a test uses
	$(GO) test -timeout 40m $(PKGS)

test-unit: ## Run all tests but the end-to-end ones
	$(GO) test -timeout 15m $(UNIT)

race: ## Run all tests under the race detector
	$(GO) test -race -timeout 40m $(PKGS)

chaos bench-soak: DURATION ?= 10m
overload: DURATION ?= 1m
chaos: ## Throw random faults at the consumer for DURATION (10m); the seed it prints, as WEIR_SEED, repeats them
	WEIR_CHAOS=$(DURATION) $(GO) test ./e2e -run 'RandomFaults|InTheMiddleOfAFlush' -count=1 -v -timeout 0

overload: ## Offer three times what the consumer can take for DURATION (1m); the tests do it for seconds
	WEIR_OVERLOAD=$(DURATION) $(GO) test ./e2e -count 1 -v -run TestOverload -timeout 0

lint: ## Check formatting and run vet, staticcheck and golangci-lint, at the versions that go.mod pins
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "Run gofmt -w on these files."; exit 1; }
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $(PKGS)
	$(GO) tool golangci-lint run

CODEGEN = github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
generate: ## Write the OpenAPI documents, the Go clients and the README's table of settings anew from the code
	@$(GO) run ./openapi/generate
	@for s in api ingestion consumer; do \
	  $(GO) run $(CODEGEN) -generate types,client -package $$s -o openapi/client/$$s/client.gen.go openapi/$$s.yaml || exit 1; done
	@$(GO) test ./e2e -run TestReadmeListsEverySetting -update > /dev/null

verify: ## Everything that CI checks: lint, generated files, tests, and every command of the documents
	@$(MAKE) lint
	@$(MAKE) generate
	@git diff --exit-code -- openapi README.md || { echo "Generated files are stale: commit what make generate wrote."; exit 1; }
	@WEIR_DOCUMENTS=all $(MAKE) test

bench: ## Measure how fast a backlog is drained, beside raw COPY and Redis alone, and check every event
	@$(GO) run ./bench drain $(ARGS)

bench-sweep: ## Offer rising rates: latency, backlog, and what every process uses (ARGS='-rates 5k,50k -html sweep.html')
	@$(GO) run ./bench sweep $(ARGS)

bench-capacity: ## Find the highest rate that goes on, and what limits it
	@$(GO) run ./bench capacity $(ARGS)

bench-overload: ## Offer two and five times the capacity, and see it recover
	@$(GO) run ./bench overload $(ARGS)

bench-soak: ## Offer one rate for DURATION (10m) under random faults, and see what drifts
	@$(GO) run ./bench soak -faults -duration $(DURATION) $(ARGS)

bench-query: ## Load events and ask the api its questions while more flow
	@$(GO) run ./bench query $(ARGS)

bench-live: ## Have a thousand clients listen to the live feed
	@$(GO) run ./bench live $(ARGS)

bench-plan: ## Say what a rate needs, from measured reports (ARGS='-rate 200k -retention 30d -results sweep.json -results drain.json')
	@$(GO) run ./bench plan $(ARGS)

bench-compare: ## Say what became faster or slower, by the ratio (ARGS='old.json new.json'); fails past a threshold
	@$(GO) run ./bench compare $(ARGS)

microbench: ## Run the benchmarks beside the hot code ten times, in the form that benchstat compares
	@$(GO) test ./services/... ./loadgen -run '^$$' -bench . -count 10

# What the binaries say with --version. Where there is no repository, as in an image's
# build, they are given.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
DATE    ?= $(shell git show -s --format=%cI 2>/dev/null)
BUILD    = weir/services/shared/build
OUT     ?= bin
binaries: ## Build the commands as static binaries into OUT (bin), with VERSION, COMMIT and DATE in them
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o $(OUT)/ \
	  -ldflags '-s -w -X $(BUILD).version=$(VERSION) -X $(BUILD).commit=$(COMMIT) -X $(BUILD).date=$(DATE)' \
	  ./services/ingestion/cmd/weir-ingestion ./services/consumer/cmd/weir-consumer ./services/api/cmd/weir-api ./migrations/cmd/weir-migrate

CYCLONEDX = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
PLATFORMS ?= linux/amd64 linux/arm64 darwin/arm64
DIST      ?= dist
dist: ## Make a release in DIST (dist): an archive for each of PLATFORMS, an SBOM for each command, checksums
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@set -e; for p in $(PLATFORMS); do name=weir_$(VERSION)_$${p%/*}_$${p#*/}; \
	  echo "building $$name"; \
	  GOOS=$${p%/*} GOARCH=$${p#*/} $(MAKE) -s binaries OUT=$(DIST)/$$name; \
	  for b in $(DIST)/$$name/*; do $(GO) run $(CYCLONEDX) bin -json -version '$(VERSION)' -output $(DIST)/$${name}_$$(basename $$b).cdx.json $$b; done; \
	  cp README.md LICENSE $(DIST)/$$name/; \
	  tar -C $(DIST) --owner=0 --group=0 --sort=name -czf $(DIST)/$$name.tar.gz $$name; \
	  rm -r $(DIST)/$$name; done
	@cd $(DIST) && sha256sum *.tar.gz *.cdx.json > SHA256SUMS
