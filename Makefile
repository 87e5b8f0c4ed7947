# What is here needs Go and, for up, down and smoke, Docker with Compose v2. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

FUZZTIME ?= 20s
# The race detector watches everything but blowfish, which shares nothing: under it bcrypt takes ten
# times as long, and the tests would wait for nothing else.
RACE     := -race -gcflags=golang.org/x/crypto/blowfish=-race=false
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null)
export VERSION

.PHONY: help
help: ## List the targets.
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

.PHONY: run
run: ## Run the service on a PostgreSQL of its own, with its data in .dev/.
	@go build -o bin/dev ./cmd/dev && exec bin/dev # in make's place, which else calls Ctrl-C an error

.PHONY: test
test: ## Run all tests on a real PostgreSQL, with the race detector.
	@# -count=1: the cache does not see that the tests of these modules read files of the module above
	@go run ./internal/dbtest/withdb -- sh -c 'go test $(RACE) -timeout 20m ./... && go -C bench test $(RACE) -count=1 ./... && go -C api/clients test $(RACE) -count=1 ./... && go -C deploy/kubernetes test -count=1 ./...'

.PHONY: browser
browser: ## Test /docs and the pages in a headless Chromium, with pictures in dist/pages and dist/mails.
	@go run ./internal/dbtest/withdb -- go test -tags browser -timeout 30m -run 'DocsPage|PageOfAnotherOrigin|OnEveryScreen|InChromium' ./internal/app ./internal/mail ./internal/web/...

.PHONY: build
build: ## Build bin/gatehouse.
	CGO_ENABLED=0 go build -trimpath -tags nomsgpack -ldflags '-s -w -X main.version=$(VERSION)' -o bin/gatehouse ./cmd/gatehouse

.PHONY: generate
generate: ## Write anew what is made from something else: queries, the lists of common passwords and of look-alikes, parts of the documents.
	go tool sqlc generate
	go generate ./...
	go test -run TestTheDocumentsHave -update .

.PHONY: verify
verify: ## Check formatting, generated code, imports, and what linters find.
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted: $$unformatted"; exit 1; }
	go mod tidy -diff
	go -C bench mod tidy -diff
	go -C api/clients mod tidy -diff
	go -C deploy/kubernetes mod tidy -diff
	go vet -tags browser ./...
	go -C bench vet ./...
	go -C api/clients vet ./...
	go -C deploy/kubernetes vet ./...
	go tool staticcheck -tags browser ./...
	go -C bench tool -modfile=../go.mod staticcheck ./... # the same one: the bench has no tools of its own
	go -C api/clients tool -modfile=../../go.mod staticcheck ./...
	go -C deploy/kubernetes tool -modfile=../../go.mod staticcheck ./...
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

.PHONY: module
module: ## Give the module another path, for whoever publishes it: make module NAME=example.org/gatehouse.
	@test -n "$(NAME)" || { echo "usage: make module NAME=example.org/gatehouse"; exit 2; }
	old=$$(go list -m) && git grep -lzIF "$$old" | xargs -0 sed -i "s|$${old//./\\.}|$(NAME)|g"
	gofmt -w $$(git ls-files '*.go')

.PHONY: bench
bench: ## Measure how fast the service is, in under 15 minutes (needs wrk and haproxy): make bench ARGS='-only me,flood'; -h lists more.
	@go -C bench build -o ../bin/bench . && exec bin/bench $(ARGS)

.PHONY: pgo
pgo: ## Write cmd/gatehouse/default.pgo, by which go build optimizes, from the bench's load; see its worth with `make bench ARGS='-only pgo'`.
	rm -f cmd/gatehouse/default.pgo
	go -C bench build -o ../bin/bench .
	bin/bench -only 'verify*,me,logins,refresh' -rounds 2 -profile dist/pgo -out dist/pgo
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
