"""What the parties of a job agree on: one canonical document whose digest stands on the chain.

The chain holds the SHA-256 of the document's RFC 8785 bytes, the sites hold the document.  Who
approves a job approves exactly these bytes: a document that differs by one byte has another
digest and is refused.  Numbers that must be exact (fractions, nonces) are decimal strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Literal

import rfc8785
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from node.errors import Invalid, TooLarge

VERSION = 1
WIRE_VERSION = 1
MAX_BYTES = 256 * 1024  # of a specification; parameters and ids need a few kilobytes
MAX_PARTIES = 16
MAX_USES = 32

Id = Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
Word = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,30}$")]
RoleName = Literal["guest", "host", "arbiter"]
Kind = Literal["train", "predict", "match", "count"]
Matching = Literal["auto", "ecdh", "kkrt", "oprf"]  # of rows; auto goes by number
Learner = Literal["all", "guest"]  # who learns what is common
Duplicates = Literal["refuse", "group"]  # what several rows with one id are

# Jobs that end with what is common, and the algorithm that each runs: an owner who allows the
# common rows to be counted has not allowed anybody to learn which they are.
MATCHING_ONLY: Mapping[str, str] = {"match": "psi", "count": "counting"}
MAX_KEY_COLUMNS = 8


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Input(_Part):
    """A dataset version that a party brings; ``grant`` is null for the proposer's own data."""

    dataset: Id
    version: int = Field(ge=1, lt=2**32)
    grant: Id | None = None


class PartyPlan(_Part):
    """A site, the role it plays, and the data it brings."""

    site: Id
    role: RoleName
    inputs: tuple[Input, ...] = ()


class Holdout(_Part):
    """Rows kept out of training: HMAC(salt, id) as a number in [0, 1) below ``fraction``."""

    fraction: Annotated[str, Field(pattern=r"^0(\.[0-9]{1,6})?$")]
    salt: Id


ColumnName = Annotated[str, Field(min_length=1, max_length=120)]
KeyColumns = Annotated[tuple[ColumnName, ...], Field(max_length=MAX_KEY_COLUMNS)]


class Psi(_Part):
    """Terms of the row matching: also who learns what is common.

    ``columns`` has a list for each party, in their order: rows are matched if they are equal in
    all of these columns.  Empty: by the id columns of the datasets.
    """

    minimum_intersection: int = Field(default=50, ge=1)
    protocol: Matching = "auto"
    result: Learner = "all"
    duplicates: Duplicates = "refuse"
    columns: tuple[KeyColumns, ...] = Field(default=(), max_length=MAX_PARTIES)

    @model_serializer(mode="wrap")
    def _plain(self, default: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Agreements that name no such terms keep the digest under which they were approved.
        fields: dict[str, Any] = default(self)
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        del usual["minimum_intersection"]
        return {
            name: value
            for name, value in fields.items()
            if name not in usual or getattr(self, name) != usual[name]
        }


class Timeouts(_Part):
    """Seconds a step, and a wait for one message, may last."""

    step: int = Field(default=600, ge=1, le=86_400)
    message: int = Field(default=120, ge=1, le=86_400)


class Specification(_Part):
    """The whole agreement (version 1).  Parties stand in the order the chain has them."""

    version: Literal[1] = 1
    kind: Kind
    algorithm: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,59}$")]
    code_digest: Id
    scheme: Word
    purpose: Word
    params: dict[str, Any]
    parties: tuple[PartyPlan, ...] = Field(min_length=1, max_length=MAX_PARTIES)
    label: str | None = Field(default=None, max_length=120)
    holdout: Holdout | None = None
    psi: Psi = Psi()
    deadline: int = Field(ge=0, lt=2**53)  # block time in Unix seconds
    timeouts: Timeouts = Timeouts()
    wire: Literal[1] = 1
    protocols: dict[str, int]
    model: Id | None = None
    nonce: Annotated[str, Field(pattern=r"^[0-9]{1,78}$")]

    @model_validator(mode="after")
    def _parties_fit(self) -> Specification:
        sites = [party.site for party in self.parties]
        if len(set(sites)) != len(sites):
            raise ValueError("a site is named twice among the parties; each site is one party")
        guests = [party for party in self.parties if party.role == "guest"]
        if len(guests) != 1 or self.parties[0].role != "guest":
            raise ValueError("exactly one guest is needed, and it is the first party")
        if sum(len(party.inputs) for party in self.parties) > MAX_USES:
            raise ValueError(f"at most {MAX_USES} datasets may be used in a job")
        if (self.kind == "predict") != (self.model is not None):
            raise ValueError("a prediction names a model, no other job does")
        return self

    @model_validator(mode="after")
    def _matching_fits(self) -> Specification:
        only, terms = self.kind in MATCHING_ONLY, self.psi
        named = {kind: name for kind, name in MATCHING_ONLY.items() if name == self.algorithm}
        if only != bool(named) or (only and self.kind not in named):
            raise ValueError(f"a job of the kind {self.kind} does not run {self.algorithm}")
        if only and (self.label is not None or self.holdout is not None):
            raise ValueError("a job that only matches has no label and holds no rows out")
        if not only and terms.result != "all":
            raise ValueError("all parties of a training or prediction learn the common rows")
        if not only and terms.duplicates != "refuse":
            raise ValueError("a training or prediction takes each id once; allowed is refuse")
        counted = len(self.parties) == 2 and terms.protocol in ("auto", "ecdh")
        if self.kind == "count" and not counted:
            raise ValueError("a guest counts with one host, by ecdh")
        if terms.columns:
            needed = [bool(party.inputs) for party in self.parties]
            if [bool(columns) for columns in terms.columns] != needed:
                raise ValueError("columns to match by: a list for each party that brings data")
            if len({len(columns) for columns in terms.columns if columns}) > 1:
                raise ValueError("all parties match by the same number of columns")
            if any(len(set(columns)) != len(columns) for columns in terms.columns):
                raise ValueError("a column to match by is named twice")
        return self

    def columns_of(self, site: str) -> tuple[str, ...]:
        """The columns that this party's rows are matched by; empty: its dataset's id column."""
        if not self.psi.columns:
            return ()
        return self.psi.columns[[party.site for party in self.parties].index(site)]

    @property
    def guest(self) -> PartyPlan:
        return self.parties[0]

    def party(self, site: str) -> PartyPlan | None:
        """The plan of that site; None when it is no party."""
        return next((party for party in self.parties if party.site == site), None)

    @property
    def holdout_fraction(self) -> float:
        return 0.0 if self.holdout is None else float(Decimal(self.holdout.fraction))

    def to_document(self) -> dict[str, Any]:
        """As plain JSON, with the field names of the wire."""
        return self.model_dump(mode="json", by_alias=True)

    def to_bytes(self) -> bytes:
        """The canonical bytes (RFC 8785) that are hashed, sent and stored."""
        return rfc8785.dumps(self.to_document())

    @property
    def digest(self) -> str:
        """0x-hex SHA-256 of the canonical bytes: what the chain holds."""
        return digest_of(self.to_bytes())


def digest_of(body: bytes) -> str:
    """0x-hex SHA-256 of bytes as they were received or read."""
    return "0x" + sha256(body).hexdigest()


def parse(body: bytes) -> Specification:
    """A specification from its canonical bytes.

    Raises `TooLarge` (``MessageTooLarge``) and `Invalid` (``InvalidRequest``): not JSON, not a
    specification, or not in canonical form.
    """
    if len(body) > MAX_BYTES:
        raise TooLarge(
            "MessageTooLarge",
            f"the specification has {len(body)} bytes; allowed are {MAX_BYTES}",
            found=len(body),
            allowed=MAX_BYTES,
        )
    try:
        specification = Specification.model_validate_json(body)
    except (ValidationError, ValueError) as error:
        raise Invalid("InvalidRequest", f"not a specification: {_reasons(error)}") from error
    if specification.to_bytes() != body:
        raise Invalid(
            "InvalidRequest",
            "the specification is not in canonical form (RFC 8785)",
            hint="send the bytes that `fatechain job specification` writes",
        )
    return specification


def _reasons(error: Exception) -> str:
    if isinstance(error, ValidationError):
        lines = [
            f"{'.'.join(str(part) for part in line['loc']) or 'document'}: {line['msg']}"
            for line in error.errors(include_url=False, include_input=False)
        ]
        return "; ".join(lines[:5])
    return type(error).__name__
