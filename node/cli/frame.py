"""What every command has: a place to work on, one way to answer, one way to fail.

A command is a function whose first parameter is a `Place`.  `command` adds ``--home``, ``--url``,
``--token`` and ``--json`` to it and turns errors into one message on stderr and exit code 1.  With
``--json`` stdout holds exactly one JSON document, and stderr the problem document of a failure.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment

from chain.errors import ChainError
from ml.errors import MlError
from node import credentials
from node.client import Client
from node.errors import Failed, Invalid, NodeError, NotFound

if TYPE_CHECKING:
    from node.settings import Settings

Result = TypeVar("Result")


class Screen(Console):
    """Members, sites and strangers wrote much of what is shown: none of it commands the terminal.

    Their control characters would clear the screen, write into the clipboard, or show a vote's
    effect as another one; characters that turn the direction of writing would, too.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def visible(text: str) -> str:
    """The text with a mark in the place of each character that would not be seen as one."""
    return "".join(
        char if char == "\n" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else "\ufffd"
        for char in text
    )


# Where no person looks on, lines are as long as their content needs.
console = Screen(width=None if sys.stdout.isatty() else 200)
errors = Screen(stderr=True, width=None if sys.stderr.isatty() else 200)


@dataclass(frozen=True)
class Place:
    """The node that a command works on, and how it answers."""

    home: Path | None
    url: str | None
    token: str | None
    as_json: bool

    def require_home(self) -> Path:
        """Raises `Invalid` when no home was named, `NotFound` when it is not one."""
        if self.home is None:
            raise Invalid(
                "InvalidRequest",
                "this command works in a site's home, and none was named",
                hint="give --home DIR or set FATECHAIN_HOME",
            )
        if not (self.home / "fatechain.toml").is_file():
            raise NotFound(
                "NotFound",
                f"{self.home} is not a site's home",
                hint="make one with `fatechain init DIR --name NAME`",
            )
        return self.home.resolve()

    def settings(self) -> Settings:
        from node.settings import Settings

        return Settings.load(self.require_home())

    def client(self, timeout_seconds: float = 30.0) -> Client:
        """To the node at --url, or to the one whose home this is."""
        if self.url is not None:
            token = self.token or credentials.find(self.url)
            return Client(self.url, token, timeout_seconds=timeout_seconds, on_stale=self.warn)
        settings = self.settings()
        token = self.token
        if token is None:
            token = (settings.home / "secrets" / "operator-token").read_text("ascii").strip()
        return Client(
            own_address(settings), token, timeout_seconds=timeout_seconds, on_stale=self.warn
        )

    def show(self, value: Any, render: Callable[[], Any] | None = None) -> None:
        """Print the answer: as JSON, or as `render` returns it for a person."""
        if self.as_json:
            print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)
        elif render is not None:
            console.print(render())
        else:
            console.print_json(data=value)

    def warn(self, text: str) -> None:
        """What nobody may miss; a program reads it from ``fatechain health --json``."""
        if not self.as_json:
            errors.print(f"[bold white on red] {escape(text)} [/]", highlight=False)

    def say(self, text: str) -> None:
        """A remark on the way, for a person only."""
        if not self.as_json:
            errors.print(text, highlight=False, soft_wrap=True)  # commands in it are copied


def own_address(settings: Settings) -> str:
    """Where the node of this home listens."""
    host = settings.host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


_COMMON = {
    "home": Annotated[
        Path | None,
        typer.Option(
            "--home", envvar="FATECHAIN_HOME", help="The site's home.", show_default=False
        ),
    ],
    "url": Annotated[
        str | None,
        typer.Option("--url", envvar="FATECHAIN_URL", help="A node elsewhere.", show_default=False),
    ],
    "token": Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="FATECHAIN_TOKEN",
            help="An API key of that node, or its operator's token.",
            show_default=False,
        ),
    ],
    "as_json": Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")],
}
_DEFAULTS: dict[str, Any] = {"home": None, "url": None, "token": None, "as_json": False}


def command(
    app: typer.Typer, name: str, **options: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function of a `Place` as the command `name` of `app`."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        taken = {parameter.name for parameter in own}

        def run(**values: Any) -> None:
            common = {key: values.pop(key, _DEFAULTS[key]) for key in _COMMON if key not in taken}
            if "home" in taken:
                common["home"] = values["home"]
            place = Place(**common)
            with_errors(lambda: function(place, **values), as_json=place.as_json)

        functools.update_wrapper(run, function)
        added = [
            inspect.Parameter(
                key, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS[key], annotation=annotation
            )
            for key, annotation in _COMMON.items()
            if key not in taken
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + added
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name, **options)(run)
        return function

    return register


def with_errors(action: Callable[[], Result], *, as_json: bool) -> Result:
    """Run `action`; a known error is told once and ends the program with code 1."""
    try:
        return action()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # Whoever read our answer has read enough; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except ValidationError as error:
        _tell(_settings_fault(error), as_json)
    except (ChainError, MlError) as error:
        from node.refusals import from_error

        _tell(from_error(error), as_json)
    except NodeError as error:
        _tell(error, as_json)
    except OSError as error:
        what = error.filename or "the operating system"
        _tell(Invalid("InvalidRequest", f"{what}: {error.strerror or error}"), as_json)
    except typer.Exit:
        raise
    except Exception as error:
        if not as_json:
            raise  # a mistake of ours: a person wants to see where
        _tell(Failed("InternalError", _place_of(error), hint="repeat it without --json"), as_json)
    raise typer.Exit(1)


def _tell(error: NodeError, as_json: bool) -> None:
    if as_json:
        print(json.dumps(error.to_problem(), indent=2, ensure_ascii=False), file=sys.stderr)
        return
    errors.print(f"[bold red]{escape(error.code)}[/] {escape(error.detail)}", highlight=False)
    for name, value in (("found", error.found), ("allowed", error.allowed), ("→", error.hint)):
        if value is not None:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            errors.print(f"  [dim]{name}[/] {escape(shown)}", highlight=False)


def _place_of(error: Exception) -> str:
    """Type and place; the text may quote what no program should read."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}"


def _settings_fault(error: ValidationError) -> NodeError:
    faults = [
        {"where": ".".join(str(part) for part in fault["loc"]), "what": fault["msg"]}
        for fault in error.errors(include_input=False, include_url=False)
    ]
    return Invalid(
        "InvalidRequest",
        "a setting or an argument does not have the form it must have",
        found=faults,
        hint="see fatechain.toml in the home and the FATECHAIN_… variables",
    )
