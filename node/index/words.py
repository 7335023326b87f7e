"""Words of texts and of questions.

A word is lower case: an id or address in hex, a number, a name with what joins it (``job.ended``)
and its parts, the parts of a ``CamelCase`` name, and of Chinese every two characters that follow
one another, since nothing parts its words.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LONGEST = 80  # what is longer (calldata, a key) is nobody's word
LONGEST_TEXT = 4000
LEAST_HEX = 6  # 0x and four digits: fewer would name half of everything
WHOLE_ID = 66
LEAST_BEGINNING = 2

_HAN = r"[\u3400-\u9fff\uf900-\ufaff]"
_OTHER = rf"(?:(?!{_HAN})\w)+"
_TERM = re.compile(rf"({_HAN}+)|({_OTHER}(?:[.:\-]{_OTHER})*)")
_JOINTS = re.compile(r"[.:\-_]+")
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_HEX = re.compile(r"0x[0-9a-f]*")


@dataclass(frozen=True)
class Term:
    """A word that must be there; ``beginning``: or any that begins with it."""

    word: str
    beginning: bool


def words_of(*texts: str) -> set[str]:
    """All words of texts; of each text the first `LONGEST_TEXT` characters."""
    found: set[str] = set()
    for text in texts:
        for han, other in _TERM.findall(_plain(text)):
            found.update(_pairs(han) if han else _of_name(other))
    return {word for word in found if len(word) <= LONGEST}


def terms_of(question: str) -> list[Term]:
    """What a question asks for, all of it at once; empty for one that names nothing."""
    found: list[Term] = []
    for han, other in _TERM.findall(_plain(question)):
        if han:
            found += [Term(pair, beginning=len(pair) == 1) for pair in _pairs(han)]
        elif (term := _term(other.lower())) is not None:
            found.append(term)
    return list(dict.fromkeys(found))


FILLERS = frozenset(
    (
        *("a", "all", "an", "and", "are", "as", "at", "be", "been", "by", "for", "from", "has"),
        *("have", "in", "is", "it", "its", "no", "not", "of", "on", "or", "that", "the", "their"),
        *("there", "this", "to", "was", "were", "what", "which", "who", "with"),
    )
)
"""Words that a person puts between those that matter."""


def without_fillers(terms: list[Term]) -> list[Term]:
    """The terms that tell anything; all of them where none else is left."""
    return [term for term in terms if term.word not in FILLERS] or terms


def parts_of(term: Term) -> list[Term]:
    """Of a name with joints that no text has as a whole: its parts."""
    parts = [part for part in _JOINTS.split(term.word) if part]
    return [each for part in parts if (each := _term(part)) is not None] if len(parts) > 1 else []


def _term(word: str) -> Term | None:
    if len(word) > LONGEST:
        return None
    if _HEX.fullmatch(word):
        return Term(word, len(word) < WHOLE_ID) if len(word) >= LEAST_HEX else None
    return Term(word, beginning=len(word) >= LEAST_BEGINNING and not word.isdigit())


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:LONGEST_TEXT])


def _pairs(han: str) -> Iterable[str]:
    return [han] if len(han) == 1 else [han[at : at + 2] for at in range(len(han) - 1)]


def _of_name(name: str) -> Iterator[str]:
    whole = name.lower()
    yield whole
    if _HEX.fullmatch(whole):
        return
    for part in _JOINTS.split(name):
        if not part:
            continue
        yield part.lower()
        if not part.islower() and not part.isdigit():
            yield from (piece.lower() for piece in _CAMEL.findall(part) if len(piece) > 1)
