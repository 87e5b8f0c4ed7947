# What is here needs Go and, for up, down and smoke, Docker with Compose v2. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FUZZTIME ?= 20s
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
export VERSION

.PHONY: help
help: ## List the targets.
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

.PHONY: run
run: ## Run the service on a PostgreSQL of its own, with its data in .dev/.
	@go run ./cmd/dev

.PHONY: test
test: ## Run all tests on a real PostgreSQL, with the race detector.
	@go run ./internal/dbtest/withdb -- go test -race ./...

.PHONY: browser
browser: ## Test the page at /docs in a headless Chromium.
	@go run ./internal/dbtest/withdb -- go test -tags browser -run DocsPage ./internal/app

.PHONY: build
build: ## Build bin/gatehouse.
	CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags '-s -w -X main.version=$(VERSION)' -o bin/gatehouse ./cmd/gatehouse

.PHONY: generate
generate: ## Write anew what is made from something else: queries, the list of common passwords, parts of README.md.
	go tool sqlc generate
	go generate ./...
	go test -run TestTheREADMEHas -update .

.PHONY: verify
verify: ## Check formatting, generated code, imports, and what linters find.
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet -tags browser ./...
	go tool staticcheck -tags browser ./...
	go tool sqlc diff
	go test . ./internal/password/gencommon
	.ci/vulncheck

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (20s).
	@grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*).*/\1/p' "$$file"); do \
	    echo "$$target in $$(dirname "$$file")"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")"; \
	  done; \
	done

.PHONY: bench
bench: ## Measure how fast the service is, in under 15 minutes (needs wrk and haproxy); see docs/performance.md.
	@go run ./bench

.PHONY: pgo
pgo: ## Write cmd/gatehouse/default.pgo, by which go build optimizes, from the bench's load; see with `go run ./bench -only pgo`.
	rm -f cmd/gatehouse/default.pgo
	go run ./bench -only 'verify*,me,logins,refresh' -rounds 2 -profile dist/pgo -out dist/pgo
	go tool pprof -proto dist/pgo/replica-1.pprof >cmd/gatehouse/default.pgo

.PHONY: up
up: ## Start three replicas behind HAProxy with Docker Compose, at http://localhost:$(PORT) (8000).
	deploy/secrets.sh
	docker compose up --detach --build --wait

.PHONY: down
down: ## Stop them; the data stays.
	docker compose down

.PHONY: smoke
smoke: ## Try the Compose stack out, in a project of its own.
	deploy/smoke.sh
