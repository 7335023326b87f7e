"""The tables of the index, in the database of the site's store."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from node.store import Base, BigId

# Ordered by bytes everywhere, so that what begins with a text is one range of an index.
Bytewise = String(80).with_variant(String(80, collation="C"), "postgresql")


class SearchDocument(Base):
    """Something that can be found.  Numbers grow, so the newest have the highest."""

    __tablename__ = "search_document"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    kind: Mapped[int]  # node.index.documents.KINDS
    key: Mapped[str] = mapped_column(String(120))
    label: Mapped[str] = mapped_column(String(160))
    tokens: Mapped[bytes] = mapped_column(LargeBinary)  # numbers of its words, to take it out again
    block: Mapped[int | None] = mapped_column(BigInteger)  # of the event that it is or is born of
    log_index: Mapped[int | None]
    block_hash: Mapped[str | None] = mapped_column(String(66))
    __table_args__ = (UniqueConstraint("kind", "key"),)


class SearchToken(Base):
    """A word, found by its beginning."""

    __tablename__ = "search_token"
    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    word: Mapped[str] = mapped_column(Bytewise, unique=True)


class SearchPosting(Base):
    """A document has a word; the newest of a kind are read from the end of its run."""

    __tablename__ = "search_posting"
    token: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    document: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012


class SearchProgress(Base):
    """One row: how far the index goes.  Who writes the index has locked it."""

    __tablename__ = "search_progress"
    id: Mapped[int] = mapped_column(primary_key=True)
    entries: Mapped[int] = mapped_column(BigInteger)  # of the log
    event_block: Mapped[int] = mapped_column(BigInteger)  # the last event; -1: none
    event_log_index: Mapped[int]
    event_hash: Mapped[str] = mapped_column(String(66))
    next_document: Mapped[int] = mapped_column(BigInteger)
    next_token: Mapped[int] = mapped_column(BigInteger)
