# run · test · compose-test · soak · seeds · corpus · fuzz · lint · bench · lock · clean: what a newcomer types. The virtualenv is made on the way and used again.

VENV := .venv
BIN := $(VENV)/bin
# Another interpreter: make run PYTHON=/path/to/python3.12
PYTHON ?=
# Arguments for the command behind a target: make run ARGS="--transcoders 2", make test ARGS="-k talk"
ARGS ?=

# Only the virtualenv named above counts, whoever calls.
unexport VIRTUAL_ENV PYTHONHOME PYTHONPATH
export PIP_ROOT_USER_ACTION := ignore
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0

.PHONY: help run test compose-test docker soak seeds corpus fuzz lint bench lock clean
.DELETE_ON_ERROR:

help:
	@echo 'make run    start everything on this machine and speak to it once'
	@echo 'make test   run all tests'
	@echo 'make compose-test  start the containers of docker-compose.yml, use and kill them (needs a Docker Engine)'
	@echo 'make soak   kill processes and cut lines again and again, and count every frame (two to three hours)'
	@echo 'make seeds  break everything that may be a race with 50 seeds each, and write a table (hours; goes on where it was)'
	@echo 'make corpus decode every codec in every container at every rate, and what is broken, 1,000 times (a few minutes)'
	@echo 'make fuzz   send damaged recordings to decoder children for FUZZ_SECONDS (10 minutes) and count who dies'
	@echo 'make lint   ruff and mypy'
	@echo 'make bench  measure what a session costs, talking, silent, in Opus, recorded, beside a bare relay (12 minutes)'
	@echo '            (make bench ARGS=--media: the codecs, beside pydub and ffmpeg where they are installed; 5 minutes)'
	@echo 'make lock   resolve the dependencies anew into requirements.lock, requirements-dev.lock and requirements-image.lock'
	@echo 'make clean  remove the virtualenv and everything else that was made here'

run: $(VENV)/.installed-run
	@$(BIN)/parley up $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

compose-test: docker $(VENV)/.installed-dev
	$(BIN)/pytest -p no:xdist $(ARGS) tests/compose/check_stack.py tests/compose/check_nginx.py \
	    tests/compose/check_faults.py

docker:
	@docker compose version >/dev/null 2>&1 && docker info >/dev/null 2>&1 || { \
	    echo 'This needs a running Docker Engine (25 or newer) with its compose plugin, and none answers here.' >&2; exit 1; }

soak: $(VENV)/.installed-dev
	PARLEY_ROUNDS=50 PARLEY_SOAK_MINUTES=20 PARLEY_SOAK_SESSIONS=50 CUTS=200 PARLEY_MINUTES=10 POINTS=1000 RESTARTS=20 \
	    REDIS_CUTS=100 CLUSTER_MOVES=200 PARLEY_BALANCER_IDLE_S=125 $(BIN)/pytest -p no:xdist $(ARGS) tests/acceptance/test_promises.py \
	    tests/acceptance/test_takeover.py tests/acceptance/test_deploys.py \
	    tests/acceptance/test_interruption.py \
	    tests/acceptance/test_redial.py tests/acceptance/test_idle.py tests/contract/doors/test_openai_numbered.py \
	    tests/integration/transcoder/test_play_parts.py tests/integration/realtime_bridge/test_breaks.py \
	    tests/integration/redis_faults tests/acceptance/balancers

seeds: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.acceptance.seeds $(ARGS)

corpus: $(VENV)/.installed-dev
	CORPUS=all $(BIN)/pytest -n auto $(ARGS) tests/integration/transcoder/test_corpus.py \
	    tests/integration/transcoder/test_broken.py tests/integration/transcoder/test_hostile.py

fuzz: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.media.fuzz $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-run
	@$(BIN)/python -m bench $(ARGS)

# What the developers' file installs includes what the users' file does: either one serves `make run`.
$(VENV)/.installed-run: requirements.lock pyproject.toml | $(VENV)/bin/pip
	@echo 'Installing what Parley needs (once; a minute or less) ...'
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock requirements.lock pyproject.toml | $(VENV)/bin/pip
	@echo 'Installing what the tests need (once; a minute or less) ...'
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $(VENV)/.installed-run $@

$(VENV)/bin/pip:
	@python=''; \
	for candidate in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.14); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        python="$$candidate"; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'Parley needs Python 3.11 or newer, and $(or $(PYTHON),python3) is not. Install it, or name it: make PYTHON=/path/to/python3.11' >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "$$python cannot make a virtualenv. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	    exit 1; \
	fi; \
	"$$python" -m venv --clear $(VENV)

lock: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet 'uv>=0.9,<1'
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	    --extra embedded pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	    --extra embedded --extra otel --extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --upgrade \
	    --extra otel --constraint requirements-dev.lock pyproject.toml --output-file requirements-image.lock

clean:
	rm -rf $(VENV) tests/contract/sdks/node_modules .parley .pytest_cache .mypy_cache .ruff_cache .hypothesis dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
