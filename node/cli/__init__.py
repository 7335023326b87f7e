"""The command line: ``fatechain …``.

Commands are thin.  Those about a running node speak to it through `node.client`; those that come
before a node runs (``init``, ``testnet``, ``deploy``) or need none (``verify``) call the use case.
"""

from __future__ import annotations

import json
import sys

import typer

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exits with 0, with 1 when it failed, with 2 when it was asked wrongly."""
    from node.cli.app import app

    given = sys.argv[1:] if arguments is None else arguments
    if "--json" not in given:
        app(given, prog_name="fatechain")
        return
    try:
        code = app(given, prog_name="fatechain", standalone_mode=False)
    except typer.Exit as exit_:
        sys.exit(exit_.exit_code)
    except typer.Abort:
        sys.exit(130)
    except typer.TyperException as error:
        _tell_usage(error)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _tell_usage(error: typer.TyperException) -> None:
    # The exception of a wrong option is private to typer; its text is what `str` gives.
    from node.errors import Invalid

    text = getattr(error, "message", None) or str(error)
    problem = Invalid("InvalidRequest", str(text), hint="see --help").to_problem()
    print(json.dumps(problem, indent=2, ensure_ascii=False), file=sys.stderr)
