# The commands of .ci/run one by one, in the environment that is active: pip install -e ".[dev]" -c constraints.txt
.PHONY: check lint test coverage docs

check: lint test

lint:
	ruff check .
	ruff format --check .
	mypy
	lint-imports

test:
	pytest -n auto

coverage:
	pytest -n auto --cov=engine --cov=projections --cov-branch --cov-report=term --cov-fail-under=95

docs:
	python -m tests.docs.generate
