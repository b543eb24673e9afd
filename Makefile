# mallocgc - the front door. Everything is built by CMake under build/; see `make help`.
.DEFAULT_GOAL := all
SHELL := /bin/bash
PREFIX ?= /usr/local
SOAK_SECS := $(or $(SECS),1800)
SECS ?= 10
export CMAKE_GENERATOR ?= $(if $(shell command -v ninja),Ninja,Unix Makefiles)
MAKEFLAGS += --no-print-directory

PRESET ?= release
.PHONY: help all deps deps-all deps-arm64 demo test test-long test-arm64 stress soak fuzz bench bench-malloc figures lint \
        format docs install deb clean

## help: this list
help:
	@sed -n 's/^## \([a-z0-9-]*\): /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

## all: the libraries and the command, optimised, in build/lib, build/libgc and build/bin
all:
	@cmake --preset $(PRESET) --log-level=WARNING >/dev/null
	@cmake --build --preset $(PRESET) --parallel

## deps: install the Debian packages that building needs (as root); test, demo, bench and deb install theirs
deps:
	@tools/deps.sh build

## deps-all: the same of testing, lint and the demo
deps-all:
	@tools/deps.sh build test lint demo

## deps-arm64: install the cross compiler and emulator that test-arm64 needs (as root)
deps-arm64:
	@tools/deps.sh build arm64

## demo: real programs on the collector, next to what they use today
demo:
	@tools/deps.sh build demo
	@$(MAKE) all
	@python3 demo/run.py

## test: all that a commit must pass: release, hostile and sanitizer builds, lint (minutes)
test:
	@tools/deps.sh build test lint
	@python3 tools/test.py

## test-long: every build with every test, longer (up to an hour)
test-long:
	@tools/deps.sh build test lint model bindings probes package
	@python3 tools/test.py --long

## test-arm64: the plain tests and the examples, cross-built, under qemu
test-arm64: deps-arm64
	@python3 tools/test.py arm64

## stress: the stress tests for SECS seconds each; SAN=asan|ubsan|tsan|hostile picks a build
stress:
	@MGC_TEST_SECONDS=$(SECS) python3 tools/test.py --label stress $(or $(SAN),release)

## soak: everything at once for SECS seconds (half an hour), hostile and release; THREADS threads (64)
soak:
	@for preset in hostile release; do \
	  cmake --preset $$preset --log-level=WARNING >/dev/null && \
	  cmake --build --preset $$preset --parallel --target test-stress-torture >/dev/null && \
	  MGC_TEST_SECONDS=$(SOAK_SECS) THREADS=$(or $(THREADS),64) \
	    build/$$([ $$preset = release ] || echo $$preset/)test/test-stress-torture || exit 1; \
	done

## fuzz: each fuzz target for SECS seconds (clang, libFuzzer)
fuzz:
	@tools/fuzz.sh $(SECS)

## bench: measure against Go and libgc; writes bench/results
bench: all
	@python3 bench/run.py

## bench-malloc: measure the malloc face against other mallocs (installs peers and programs as root)
bench-malloc: all
	@tools/deps.sh bench
	@python3 bench/malloc.py
	@python3 bench/malloc.py --micro

## figures: measure every figure of README and docs/ again and write it there (an hour or two; ARGS="--only NAME")
figures:
	@tools/deps.sh build test demo bench
	@python3 bench/figures.py $(ARGS)

## lint: layers, headers, sizes, tags, ABI, generated files, formatting, clang-tidy
lint: all
	@cd build && ctest -j2 -L lint --output-on-failure --no-tests=error

## format: rewrite the C sources with clang-format
format:
	@tools/format.sh

## docs: regenerate docs/gen from the .def files
docs:
	@python3 tools/gendocs.py --write

## install: copy libraries, headers, command and man pages below PREFIX, and run ldconfig as root (DESTDIR is honoured)
install: all
	@cmake --install build --prefix $(PREFIX)
	@if [[ -z "$(DESTDIR)" && $$(id -u) == 0 ]]; then ldconfig; fi

## deb: Debian packages of the libraries, of what linking needs, and of the command, in build/package/packages
deb:
	@tools/deps.sh build package
	@cmake --preset package --log-level=WARNING >/dev/null
	@cmake --build --preset package --parallel
	@cd build/package && cpack -G DEB >/dev/null && ls packages/*.deb packages/*.ddeb

## clean: remove build/
clean:
	@rm -rf build
