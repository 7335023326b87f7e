"""Which events and calls a word of a question means: those whose sentences have it.

The index holds an event under its name and its arguments.  What people ask for are the words that
the pages use, in either language; they are the same for every event of a name, so they need no row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from node.index.words import Term, terms_of, words_of
from node.ui.chain_words import EVENTS
from node.ui.messages import MESSAGES

MOST = 16  # names that a word may mean; one of more tells nothing apart


def meant_by(term: Term) -> tuple[str, ...]:
    """Names of events, in lower case, whose sentence has the word, or one that begins with it."""
    names = _events().get(term.word, ())
    if term.beginning and not names:
        begun = [each for word, each in _events().items() if word.startswith(term.word)]
        names = tuple(dict.fromkeys(name for each in begun for name in each))
    return names if len(names) <= MOST else ()


def is_asked(question: str, contract: str, function: str, intent: str) -> bool:
    """Whether a call has all the words of a question, in its sentence or its intent."""
    terms = terms_of(question)
    held = _words_of_call(contract, function) | words_of(intent)
    return bool(terms) and all(_has(held, term) for term in terms)


def _has(held: frozenset[str] | set[str], term: Term) -> bool:
    if term.word in held:
        return True
    return term.beginning and any(word.startswith(term.word) for word in held)


@cache
def _events() -> Mapping[str, tuple[str, ...]]:
    """Word → the events that it means."""
    found: dict[str, list[str]] = {}
    for name, texts in EVENTS.items():
        for word in words_of(*map(_bare, texts)):
            found.setdefault(word, []).append(name.lower())
    return {word: tuple(names) for word, names in found.items()}


@cache
def _words_of_call(contract: str, function: str) -> frozenset[str]:
    keys = (f"call.{contract}.{function}", f"call.{function}")
    texts = next((MESSAGES[key] for key in keys if key in MESSAGES), ())
    return frozenset(words_of(contract, function, *map(_bare, texts)))


def _bare(text: str) -> str:
    """A sentence without the places of its values."""
    return re.sub(r"{\w+}", " ", text)
