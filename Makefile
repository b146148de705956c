# Everything from a bare checkout: each target first builds the virtual environment it needs, once.
PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= cpu,train,redis,dev
JOBS ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Many images forbid compiled modules, and uv makes none: each process would compile all it imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo evaluate test bench bench-generators bench-students bench-gpu chaos lint types proto check-proto promise-proto clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## create the virtual environment

# uv resolves and unpacks in seconds what pip takes minutes for; the versions are those of constraints.txt.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Kindling needs Python 3.11 to 3.13: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: $(INSTALLED) ## run the whole path, on DATA=folder or on a simulated shop
	@$(BIN)/kindling demo $(if $(DATA),--data '$(DATA)')

evaluate: $(INSTALLED) ## compare fills and recommenders on held-out users of DATA=folder; EVALUATE=quick for one fold
	@$(BIN)/kindling evaluate $(if $(DATA),--data '$(DATA)') $(if $(filter quick,$(EVALUATE)),--quick)

# Files side by side have the cores: a second thread in each would only be in the way.
test: lint ## lint, then run the tests, two files at a time; JOBS=0 for one after the other
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

bench: bench-stream bench-serve ## measure stream and server beside their peers, about two hours; BENCH=quick for less

bench-stream: $(INSTALLED) ## the stream alone, about half an hour; BENCH=quick for ten minutes; RESUME=1 to go on
	@$(BIN)/python -W ignore -m tests.bench.stream $(if $(filter quick,$(BENCH)),--quick) $(if $(RESUME),--resume)

bench-serve: $(INSTALLED) ## the server alone, about forty minutes; BENCH=quick for ten; RESUME=1 to go on
	@$(BIN)/python -W ignore -m tests.bench.serve $(if $(filter quick,$(BENCH)),--quick) $(if $(RESUME),--resume)

bench-generators: $(INSTALLED) ## time the default rung on one core beside a plain network, on DATA=folder or a simulated shop
	@OMP_NUM_THREADS=1 $(BIN)/python -W ignore -m tests.bench.generators $(if $(DATA),--data '$(DATA)')

bench-students: $(INSTALLED) ## time the tiny student on one core; LESSONS=folders to compare with their teachers
	@$(BIN)/python -W ignore -m tests.bench.students cpu $(if $(LESSONS),--lessons $(LESSONS))

bench-gpu: $(INSTALLED) ## time the small student on a GPU, and soak it; needs EXTRAS=gpu,train,redis,dev
	@$(BIN)/python -W ignore -m tests.bench.students gpu

chaos: $(INSTALLED) ## break servers and consumers SEEDS times each, and count what was lost
	@$(BIN)/python -W ignore -m tests.fault.chaos $(if $(SEEDS),--seeds $(SEEDS))

fault-serve: $(INSTALLED) ## break what the gRPC server stands on, and judge every answer
	@$(BIN)/python -W ignore -m tests.fault.serve $(if $(SEEDS),--seeds $(SEEDS))

lint: $(INSTALLED) check-proto ## ruff, mypy, import rules, generated code
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

PROTOC = PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m grpc_tools.protoc -I . $(wildcard kindling/v1/*.proto)
API = kindling/v1/baseline.binpb

proto: $(INSTALLED) ## generate code from the .proto files
	$(PROTOC) --python_out=. --grpc_python_out=. --mypy_out=quiet:. --mypy_grpc_out=quiet:.

# The baseline is what callers were promised: fields, numbers and methods may be added to it, not changed.
check-proto: $(INSTALLED)
	$(BIN)/buf lint
	$(BIN)/buf breaking --against $(API)
	@out=$$(mktemp -d) && $(PROTOC) --python_out=$$out --grpc_python_out=$$out && \
		diff -r -x '*.pyi' -x '*.proto' -x '*.binpb' -x '__*' kindling/v1 $$out/kindling/v1 && rm -r $$out || \
		{ echo "kindling/v1 is stale: run make proto" >&2; exit 1; }

promise-proto: $(INSTALLED) ## promise callers the API as it is now, if it breaks no promise made before
	$(BIN)/buf breaking --against $(API)
	$(BIN)/buf build --exclude-source-info --output $(API)

clean: ## remove the virtual environment and everything in var/
	rm -rf $(VENV) var
