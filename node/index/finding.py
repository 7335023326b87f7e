"""Answering: which documents have all the words of a question, the newest of each kind first.

Whatever is asked, a bounded number of rows is read.  A word of the question may stand for all words
that begin with it, at most `MOST_WORDS` of them; of a question of several words the rarest one is
followed, at most `MOST_READ` documents of each kind at a time.  Where such a bound was met, the
answer has a place to go on from.

The last word of a question, and an id, may be the beginning of a word; another word is looked for
as it stands, and as a beginning only where no text has it.  A word may also stand for others that
the asker says it means (names of events), and among several words the name of a site or a member
stands for its id, too.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import TextClause, func, select, text
from sqlalchemy.orm import Session

from node.index.documents import KINDS
from node.index.tables import SearchDocument, SearchPosting, SearchToken
from node.index.words import Term, parts_of, terms_of, without_fillers

MOST_TERMS = 8
MOST_WORDS = 24  # times the kinds below the 500 parts that SQLite lets a compound question have
MOST_READ = 4000
PAST_ALL = "\U0010ffff"
NEWEST = 2**62

MOST_NAMED = 8  # ids that a name stands for
NAMED = tuple(KINDS[kind] for kind in ("site", "member", "dataset"))

Meaning = Callable[[Term], Sequence[str]]
"""Further words that a term stands for."""

_NAMES = {number: name for name, number in KINDS.items()}


@dataclass(frozen=True)
class Found:
    """A document; ``number`` is its place in the order of the index."""

    number: int
    kind: str
    key: str
    label: str


@dataclass(frozen=True)
class Answer:
    """Of one kind, newest first; ``next``: go on below this number, None at the end."""

    kind: str
    found: list[Found]
    next: int | None


def find(
    session: Session,
    question: str,
    *,
    limit: int,
    kinds: Sequence[str] = tuple(KINDS),
    below: int = NEWEST,
    meaning: Meaning = lambda term: (),
) -> list[Answer]:
    """The answers of these kinds that have any, each with at most ``limit`` documents."""
    wanted = [KINDS[kind] for kind in kinds]
    asked = _known(session, without_fillers(terms_of(question))[:MOST_TERMS], meaning)
    terms = []
    for term in asked:
        tokens = _numbers(session, term, last=term == asked[-1])
        if len(asked) > 1:
            tokens += _ids_of(session, tokens)
        tokens += _meant(session, meaning(term))
        terms.append(list(dict.fromkeys(tokens))[:MOST_WORDS])
    if not terms or not all(terms):
        return []
    if len(terms) == 1:
        numbers = _of_one(session, terms[0], wanted, limit + 1, below)
        places = {kind: _cut(some, limit) for kind, some in numbers.items()}
    else:
        places = _of_all(session, terms, wanted, limit, below)
    held = _documents(session, [number for some, _ in places.values() for number in some])
    answers = [
        Answer(_NAMES[kind], [held[number] for number in some if number in held], further)
        for kind, (some, further) in places.items()
    ]
    return [each for each in answers if each.found or each.next is not None]


def _known(session: Session, terms: Sequence[Term], meaning: Meaning) -> list[Term]:
    """The terms; a name with joints that no text has is taken apart."""
    found: list[Term] = []
    for term in terms:
        parts = parts_of(term)
        whole = not parts or meaning(term) or _numbers(session, term, last=True)
        found += [term] if whole else parts
    return list(dict.fromkeys(found))


def _meant(session: Session, words: Sequence[str]) -> list[int]:
    if not words:
        return []
    return list(session.scalars(select(SearchToken.id).where(SearchToken.word.in_(words))))


def _ids_of(session: Session, tokens: Sequence[int]) -> list[int]:
    """Numbers of the ids of sites, members and datasets that have one of these words."""
    if not tokens:
        return []
    named = (
        select(SearchPosting.document)
        .where(SearchPosting.token.in_(tokens[:MOST_NAMED]), SearchPosting.kind.in_(NAMED))
        .order_by(SearchPosting.document.desc())
        .limit(MOST_NAMED)
    )
    keys = select(SearchDocument.key).where(SearchDocument.id.in_(named))
    return list(session.scalars(select(SearchToken.id).where(SearchToken.word.in_(keys))))


def _numbers(session: Session, term: Term, *, last: bool) -> list[int]:
    """Numbers of the words that a term stands for, the word itself first."""
    word = SearchToken.word
    whole = session.scalar(select(SearchToken.id).where(word == term.word))
    if not term.beginning or (whole is not None and not last):
        return [] if whole is None else [whole]
    begun = select(SearchToken.id).where(word >= term.word, word < term.word + PAST_ALL)
    return list(session.scalars(begun.order_by(word).limit(MOST_WORDS)))


def _of_one(
    session: Session, tokens: Sequence[int], kinds: Sequence[int], limit: int, below: int
) -> dict[int, list[int]]:
    """The newest documents that have one of the words, by kind."""
    parts = [_newest(token, kind, limit, below) for token in tokens for kind in kinds]
    numbers: dict[int, set[int]] = {kind: set() for kind in kinds}
    for kind, number in session.execute(_together(parts)):
        numbers[kind].add(number)
    return {kind: heapq.nlargest(limit, some) for kind, some in numbers.items()}


def _of_all(
    session: Session, terms: Sequence[Sequence[int]], kinds: Sequence[int], limit: int, below: int
) -> dict[int, tuple[list[int], int | None]]:
    """The newest documents that have a word of each term, by kind, and where to go on."""
    rarest = min(terms, key=lambda tokens: _rows(session, tokens))
    others = [tokens for tokens in terms if tokens is not rarest]
    found: dict[int, tuple[list[int], int | None]] = {}
    read = _of_one(session, rarest, kinds, MOST_READ, below)
    for kind, numbers in read.items():
        if not numbers:
            continue
        kept = _having(session, numbers, others, kind, limit + 1)
        some, further = _cut(kept, limit)
        if further is None and len(numbers) == MOST_READ:
            further = numbers[-1]
        found[kind] = (some, further)
    return found


def _rows(session: Session, tokens: Sequence[int]) -> int:
    """How many documents have one of these words; counted as far as it matters."""
    some = select(SearchPosting.token).where(SearchPosting.token.in_(tokens)).limit(MOST_READ)
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def _having(
    session: Session,
    numbers: Sequence[int],
    terms: Sequence[Sequence[int]],
    kind: int,
    limit: int,
) -> list[int]:
    """Those of ``numbers``, newest first, that have a word of each term; at most ``limit``."""
    kept: list[int] = []
    for at in range(0, len(numbers), 500):
        left = set(numbers[at : at + 500])
        for tokens in terms:
            left &= set(
                session.scalars(
                    select(SearchPosting.document).where(
                        SearchPosting.token.in_(tokens),
                        SearchPosting.kind == kind,
                        SearchPosting.document.in_(left),
                    )
                )
            )
            if not left:
                break
        kept += sorted(left, reverse=True)
        if len(kept) >= limit:
            break
    return kept[:limit]


def _cut(numbers: list[int], limit: int) -> tuple[list[int], int | None]:
    return (numbers[:limit], numbers[limit - 1]) if len(numbers) > limit else (numbers, None)


def _documents(session: Session, numbers: Sequence[int]) -> dict[int, Found]:
    columns = (SearchDocument.id, SearchDocument.kind, SearchDocument.key, SearchDocument.label)
    found = {}
    for at in range(0, len(numbers), 500):
        some = select(*columns).where(SearchDocument.id.in_(numbers[at : at + 500]))
        for number, kind, key, label in session.execute(some):
            found[number] = Found(number, _NAMES[kind], key, label)
    return found


def _newest(token: int, kind: int, limit: int, below: int) -> str:
    # Hundreds of parts, of numbers alone: building them as expressions takes longer than answering
    # them.
    return (
        "SELECT kind, document FROM (SELECT kind, document FROM search_posting"  # noqa: S608
        f" WHERE token = {token:d} AND kind = {kind:d} AND document < {below:d}"
        f" ORDER BY document DESC LIMIT {limit:d}) AS newest"
    )


def _together(parts: Sequence[str]) -> TextClause:
    return text(" UNION ALL ".join(parts))
