# bordergw: see `make help`.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
GOTOOL := go tool -modfile=tools/go.mod
LINTTOOL := go tool -modfile=tools/lint/go.mod
RESULTS ?= results
SUITES ?= bookworm trixie sid
# Who the agents of the demo take their desired state from: a controller, or files.
MODE ?= controller
# Tests in the lab that passed with the same programs on the same system are not run again, unless FRESH is set.
FRESHLY := $(if $(FRESH),-count=1)

.PHONY: help build test test-unit test-rules test-lab test-matrix demo demo-mode bench lint generate fmt fuzz cc clean

help: ## explain every target
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build static bin/bordergw-agent, bin/bordergw-controller and bin/bordergwctl
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

test: test-unit test-rules test-lab ## install what is missing and run every test: unit tests with -race, then the scenarios on a real kernel

test-unit: cc ## unit tests only, with the race detector
	go vet ./...
	go test -race ./...
	go test -run '^(TestRestart|TestHelper)$$' ./bgp/gobgp # GoBGP's graceful restart races with itself: see restart_test.go

test-rules: .cache/promtool/usr/bin/promtool ## alert rules, dashboard and metrics only, with Prometheus' own tool
	BORDERGW_PROMTOOL=$(CURDIR)/$< go test -tags promtool -run Promtool ./agent/metrics

# Unpacked, not installed: its service must not start here.
.cache/promtool/usr/bin/promtool:
	@echo "fetching promtool from the package prometheus"; mkdir -p .cache/promtool && cd .cache/promtool && apt-get update -qq && \
	  apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb && touch usr/bin/promtool

test-lab: ## scenarios and kernel tests only; here where the kernel can, else in a VM; FRESH=1 repeats what has passed
	go run ./test/suite $(FRESHLY) -results $(RESULTS)

test-matrix: ## the same with the daemons and kernels of Debian 12, Debian 13 and sid; SUITES="trixie sid" for some of them
	@failed=; for s in $(SUITES); do \
	  echo "== $$s"; go run ./test/suite -suite $$s $(FRESHLY) -timeout 60m -results $(RESULTS)/$$s || failed="$$failed $$s"; done; \
	  [ -z "$$failed" ] || { echo "test-matrix: failed with$$failed"; exit 1; }

demo: demo-mode build ## show the main job on a real kernel, from one controller: tunnels, BGP, a failover and the way back; MODE=files: two agents alone
	CGO_ENABLED=0 go build -o .cache/lab/demo ./test/demo
	go run ./test/lab/labrun -results $(RESULTS) -- .cache/lab/demo $(MODE)

# Said before anything is built or booted.
demo-mode:
	@case "$(MODE)" in controller|files) ;; *) echo "make demo: MODE is controller or files, not \"$(MODE)\"" >&2; exit 2;; esac

bench: ## measure against peers and redraw docs/performance.md; BENCH=failover-routes for one row, SIZE=large for many tunnels and routes, COUNT=1 for one turn instead of five
	go run ./test/bench -size $(or $(SIZE),small) -count $(or $(COUNT),5) -run "$(BENCH)" -results $(RESULTS)/bench

lint: ## golangci-lint with the project's few rules
	$(LINTTOOL) golangci-lint run ./...
	$(GOTOOL) buf lint

generate: ## regenerate Go code from the protobuf schema and docs from code
	$(GOTOOL) buf generate
	go generate ./...

fmt: ## format Go and protobuf sources
	gofmt -w $$(git ls-files '*.go' | grep -v '\.pb\.go$$')
	$(GOTOOL) buf format -w

fuzz: ## run every fuzzer for FUZZTIME each (default 60s)
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$p/*_test.go | sed 's/func //'); do \
	    echo "== $$p $$f"; go test $$p -run '^$$' -fuzz "^$$f$$" -fuzztime $${FUZZTIME:-60s} -fuzzminimizetime 1x || exit 1; done; done

# The race detector needs a C compiler, which a fresh Debian does not have.
cc:
	@command -v gcc >/dev/null || { echo "installing gcc for the race detector"; apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev >/dev/null; }

clean: ## remove build results (the lab's package cache stays)
	rm -rf bin $(RESULTS)
