SHELL := /bin/bash -o pipefail
TESTFLAGS ?=
SEEDS ?= 100
FUZZTIME ?= 10s

.PHONY: build demo test soak matrix clock bench lint fuzz
build: ; go build -o bin/syncd ./cmd/syncd
demo: build ; go run ./e2e/demo bin/syncd
test: ; go test $(TESTFLAGS) ./...
soak: ; SYNCD_SEEDS=$(SEEDS) go test $(TESTFLAGS) -count=1 -timeout 6h -v -run '^TestChurn$$' ./e2e
matrix: ; SYNCD_MATRIX=$(SEEDS) go test $(TESTFLAGS) -count=1 -timeout 6h -v -run '^TestMatrix$$' ./e2e
clock: ; go test $(TESTFLAGS) -tags clock -count=1 -v -run '^TestClockJumps$$' ./e2e
bench: build ; go run ./e2e/bench $(BENCHFLAGS)
lint: ; @unformatted=$$(gofmt -l .) && test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	go vet ./... && go vet -tags clock ./e2e
	go tool staticcheck ./...
fuzz: ; go test -list '^Fuzz' ./... | awk '/^Fuzz/ { f[n++] = $$1 } /^ok/ { while (n) print $$2, f[--n] }' | \
	while read -r p f; do go test "$$p" -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; done
