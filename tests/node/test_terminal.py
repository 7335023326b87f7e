"""What others wrote is shown to a person as text, and commands no terminal."""

from __future__ import annotations

import io

import pytest

from node.cli.frame import Screen
from node.cli.tables import facts, rows


@pytest.mark.parametrize(
    "hostile",
    ["\x1b[2J\x1b[H", "\x1b]52;c;ZXZpbA==\x1b\\", "\x9b31m", "\u202egnp.exe", "\r\x07", "\x7f"],
)
def test_a_reason_of_another_member_cannot_command_the_terminal(hostile: str) -> None:
    out = io.StringIO()
    screen = Screen(file=out, width=80, force_terminal=False)
    screen.print(facts({"reason": f"no{hostile}way"}))
    screen.print(rows([hostile], (("title", lambda text: text),)))
    screen.print(hostile, markup=False)
    assert all(char.isprintable() or char == "\n" for char in out.getvalue())


def test_words_of_every_language_and_colours_stay() -> None:
    out = io.StringIO()
    screen = Screen(file=out, width=80, force_terminal=True, color_system="standard")
    screen.print("[red]投票\u3000Größe[/]")
    assert out.getvalue() == "\x1b[31m投票\u3000Größe\x1b[0m\n"
