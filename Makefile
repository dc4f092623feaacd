# make demo      sets up, builds, quantizes a real model in several ways and compares them
# make test      sets up, builds, runs all tests; then the unit tests under the sanitizers
# make test-threads   tests of what starts threads, under ThreadSanitizer
# make build     the program alone: build/halftone
# make install   puts it under PREFIX (/usr/local)
# make python    installs the Python package with pip in a fresh environment and runs its tests
# make bench-peers   builds llama.cpp and measures the speed of both; RUN=... what bench/peers/run does
# make interop   opens written models in the programs that own the formats (installs them)
# make clean     removes what was built

PREFIX ?= /usr/local
RUN ?= speed
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
CONFIGURE = CXX=$$(scripts/compiler) cmake -S . -G Ninja

.PHONY: demo test test-threads build install python bench-peers interop clean setup setup-test
.DEFAULT_GOAL := build

setup:
	@scripts/setup

setup-test:
	@scripts/setup test

build: setup
	@$(CONFIGURE) -B build -DCMAKE_BUILD_TYPE=Release >/dev/null
	@ninja -C build -j $(JOBS) halftone_cli

demo: build
	@scripts/demo build/halftone halftone-demo

# The sanitizers see the same tests, apart from those of the sources' text and of the report in a browser.
# The Python package is built as people build it; without a network, which pip needs, its tests are
# skipped.
test: setup-test
	$(CONFIGURE) -B build -DCMAKE_BUILD_TYPE=Release -DHALFTONE_TESTS=ON
	ninja -C build -j $(JOBS)
	ctest --test-dir build -j $(JOBS) --output-on-failure
	$(CONFIGURE) -B build-asan -DCMAKE_BUILD_TYPE=Release -DHALFTONE_TESTS=ON -DHALFTONE_SANITIZE=ON
	ninja -C build-asan -j $(JOBS)
	ctest --test-dir build-asan -j $(JOBS) -LE '^(structure|report)_test$$' --output-on-failure
	scripts/test-python

python:
	@scripts/setup python
	scripts/test-python

# The tests of what starts threads; kernels with more than one, and not those that the compiler alone
# vectorizes, which take twenty times as long as the others and cut up their work in the same way. Where
# the system randomizes addresses by more bits than ThreadSanitizer knows of, it is asked not to.
THREADED = base_test hub_test kernel_cpu_test method_test engine_test calibration_test evaluation_test \
  training_test pipeline_test cli_test
test-threads: setup-test
	$(CONFIGURE) -B build-tsan -DCMAKE_BUILD_TYPE=Release -DHALFTONE_TESTS=ON -DHALFTONE_SANITIZE=thread
	ninja -C build-tsan -j $(JOBS) $(THREADED)
	$$(setarch -R true 2>/dev/null && echo setarch -R) ctest --test-dir build-tsan -j $(JOBS) \
	  -L "^($$(echo $(THREADED) | tr ' ' '|'))$$" -E 'Threads1$$|/scalarThreads|^DecodeTest' \
	  --output-on-failure

install: build
	cmake --install build --prefix $(PREFIX)

bench-peers: setup-test
	@$(CONFIGURE) -B build -DCMAKE_BUILD_TYPE=Release -DHALFTONE_TESTS=ON >/dev/null
	@ninja -C build -j $(JOBS) halftone_cli random_model
	bench/peers/run $(RUN)

interop: setup-test
	@$(CONFIGURE) -B build -DCMAKE_BUILD_TYPE=Release -DHALFTONE_TESTS=ON >/dev/null
	@ninja -C build -j $(JOBS) halftone_cli text_answers
	tests/interop/run

clean:
	rm -rf build build-asan build-tsan build-aarch64 build-fuzz build-python build-python-test halftone-demo
