"""What holds for all tests: properties draw the same examples everywhere and are never timed.

`--engine` chooses the chain under the contract tests.
"""

import pytest
from hypothesis import settings

settings.register_profile("fatechain", deadline=None, derandomize=True, database=None)
settings.load_profile("fatechain")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine", choices=("py-evm", "anvil", "ganache"), default="py-evm", help="contract tests'"
    )
