# Weir: every target is a command that you could type yourself.

GO     ?= go
PKGS    = ./...
UNIT    = ./services/... ./loadgen/... ./migrations/... ./openapi/... ./bench/...

.DEFAULT_GOAL := help
.PHONY: help up down images api consumer ingestion migrate test test-unit race chaos overload lint generate verify bench

help: ## Explain the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  \033[1m%-11s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: ## Run everything here: Redis, TimescaleDB and the three services with the generator on, until Ctrl-C
	@$(GO) build -o bin/weir-up ./e2e/cmd/weir-up
	@bin/weir-up

down: ## Remove the containers that an interrupted run left behind
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
	$(GO) test -timeout 20m $(PKGS)

test-unit: ## Run all tests but the end-to-end ones
	$(GO) test -timeout 15m $(UNIT)

race: ## Run all tests under the race detector
	$(GO) test -race -timeout 40m $(PKGS)

DURATION ?= 10m
chaos: ## Throw random faults at the consumer for DURATION (10m); the seed it prints, as WEIR_SEED, repeats them
	WEIR_CHAOS=$(DURATION) $(GO) test ./e2e -run 'RandomFaults|InTheMiddleOfAFlush' -count=1 -v -timeout 0

overload: ## Offer three times what the consumer can take for a minute; the tests do it for seconds
	WEIR_OVERLOAD=1m $(GO) test ./e2e -count 1 -v -run TestOverload

lint: ## Check formatting and run vet, staticcheck and golangci-lint, at the versions that go.mod pins
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "Run gofmt -w on these files."; exit 1; }
	$(GO) vet $(PKGS)
	$(GO) tool staticcheck $(PKGS)
	$(GO) tool golangci-lint run

generate: ## Write the OpenAPI documents and the README's table of settings anew from the code
	@$(GO) run ./openapi/generate
	@$(GO) test ./e2e -run TestReadmeListsEverySetting -update > /dev/null

verify: ## Everything that CI checks: lint, generated files, tests
	@$(MAKE) lint
	@$(MAKE) generate
	@git diff --exit-code -- openapi README.md || { echo "Generated files are stale: commit what make generate wrote."; exit 1; }
	@$(MAKE) test

bench: ## Measure how fast a backlog is drained, beside raw COPY, and check every event
	@$(GO) run ./bench drain
