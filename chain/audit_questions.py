"""What an auditor asks of a site, and whether a pack answers it.

The chain has the digest of the question (`chain.audit_requests`); the question itself is with the
two sides, as a file of canonical JSON and a newline:

    type, version   "audit-question", 1
    network         chainId and consortium
    site            of which it is asked
    asker           the site that asks
    scope           as of a pack: from and until (RFC 3339, until exclusive, or null), site, dataset
                    and job (an id or null)
    text            what for, in words
    nonce           32 random bytes: so the digest on the chain tells nobody what is asked

An answer is a pack (`chain.pack`) whose digest the site wrote on the chain.  `verify_answer` holds
it against the request, the question and the chain: whoever has the two files needs no one's word.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chain import canonical
from chain.audit_requests import AuditRequest
from chain.certificate import Address, Hash, Positive
from chain.errors import VerificationFailed
from chain.pack import MAX_BYTES as MAX_PACK_BYTES
from chain.pack import Moment, verify_pack
from chain.standalone import Report, looked, require, require_same
from chain.statement import parse

if TYPE_CHECKING:
    from chain.network import Network

TYPE = "audit-question"
VERSION = 1
MAX_BYTES = 64 * 1024
MAX_TEXT = 2000
FIELDS = ("type", "version", "network", "site", "asker", "scope", "text", "nonce")
SCOPE = ("from", "until", "site", "dataset", "job")

Kind = Literal["everything", "period", "site", "dataset", "job"]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=False)


class NetworkPart(_Part):
    chain_id: Annotated[Positive, Field(alias="chainId")]
    consortium: Address


class ScopePart(_Part):
    from_: Annotated[Moment | None, Field(alias="from")]
    until: Moment | None
    site: Hash | None
    dataset: Hash | None
    job: Hash | None


class _Question(_Part):
    type: str
    version: int
    network: NetworkPart
    site: Hash
    asker: Hash
    scope: ScopePart
    text: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    nonce: Hash


@dataclass(frozen=True)
class Question:
    """A question as its file has it; `digest` is that of the file."""

    content: bytes
    digest: str
    chain_id: int
    consortium: str
    site: str
    asker: str
    scope: dict[str, str | None]
    text: str

    @property
    def kind(self) -> Kind:
        """The word that the chain has for it."""
        return kind_of(self.scope)


def kind_of(scope: dict[str, str | None]) -> Kind:
    """What a scope is about: the narrowest thing that it names."""
    if scope["job"] is not None:
        return "job"
    if scope["dataset"] is not None:
        return "dataset"
    if scope["site"] is not None:
        return "site"
    return "everything" if scope["from"] is scope["until"] is None else "period"


def write_question(
    network: "Network",
    *,
    site: str,
    asker: str,
    scope: dict[str, str | None],
    text: str,
    nonce: str,
) -> Question:
    """The question as a file.  Raises VerificationFailed for what `read_question` would refuse."""
    value = {
        "type": TYPE,
        "version": VERSION,
        "network": {
            "chainId": network.client.chain_id,
            "consortium": network.consortium.address,
        },
        "site": site,
        "asker": asker,
        "scope": scope,
        "text": text,
        "nonce": nonce,
    }
    return read_question(canonical.dumps(value) + b"\n")


def read_question(content: bytes) -> Question:
    """Raises VerificationFailed for anything that is no question, or asks for an empty period."""
    value = parse(content, TYPE, VERSION, FIELDS, MAX_BYTES)
    try:
        found = _Question.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "$" + "".join(f".{step}" for step in first["loc"])
        raise VerificationFailed(where, first["msg"], "a question") from error
    since, until = found.scope.from_, found.scope.until
    for name, moment in (("from", since), ("until", until)):
        if moment is not None and not _is_moment(moment):
            raise VerificationFailed(f"$.scope.{name}", moment, "a time that there is")
    if since is not None and until is not None and since >= until:
        raise VerificationFailed("$.scope.until", until, f"later than {since}")
    return Question(
        content=content,
        digest=canonical.digest(content),
        chain_id=found.network.chain_id,
        consortium=found.network.consortium,
        site=found.site,
        asker=found.asker,
        scope=value["scope"],
        text=found.text,
    )


def moment_of(text: str | None) -> datetime | None:
    """A time of a scope, in UTC."""
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _is_moment(text: str) -> bool:
    try:
        return moment_of(text) is not None
    except (ValueError, OverflowError):
        return False


# ── Whether it belongs to a request, and whether a pack answers it


def require_asked(question: Question, request: AuditRequest, network: "Network") -> None:
    """That it is the question of this request on this chain.  Raises VerificationFailed."""
    require("$", question.digest, request.digest)
    require("$.network.chainId", question.chain_id, network.client.chain_id)
    consortium = network.consortium.address.lower()
    require("$.network.consortium", question.consortium.lower(), consortium)
    require("$.site", question.site, request.site)
    require("$.scope", question.kind, request.kind)


def verify_answer(
    pack: bytes, question: bytes, request: AuditRequest, network: "Network"
) -> Report:
    """Holds an answer against question, request and chain.  Raises nothing that its input causes.

    The pack is read only if its digest is the one that the asked site wrote on the chain.
    """
    checks = [*looked("question", lambda: _question(question, request, network))]
    checks += looked("digest", lambda: _digest(pack, request))
    if not all(check.ok for check in checks):
        return Report(tuple(checks))
    checks += verify_pack(pack, network).checks
    if all(check.ok for check in checks):
        asked = read_question(question)
        checks += looked("answer", lambda: _answers(pack, asked, request))
    return Report(tuple(checks))


def _question(
    content: bytes, request: AuditRequest, network: "Network"
) -> Iterator[tuple[str, str]]:
    require_asked(read_question(content), request, network)
    yield "$", "the question is the one that the request on the chain has the digest of"


def _digest(pack: bytes, request: AuditRequest) -> Iterator[tuple[str, str]]:
    if request.pack is None:
        raise VerificationFailed("$", "no answer on the chain", "the digest of a pack")
    if len(pack) > MAX_PACK_BYTES:
        raise VerificationFailed("$", f"{len(pack)} bytes", f"at most {MAX_PACK_BYTES}")
    require("$", canonical.digest(pack), request.pack)
    yield "$", "the file is the one that the site answered with on the chain"


def _answers(
    content: bytes, question: Question, request: AuditRequest
) -> Iterator[tuple[str, str]]:
    value: dict[str, Any] = canonical.loads(content[:-1])
    require("$.issued.by", value["issued"]["by"], request.site)
    yield "$.issued.by", "the site that was asked issued it"
    asked = {name: value["scope"][name] for name in SCOPE}
    require_same("$.scope", asked, question.scope)
    yield "$.scope", "is what was asked for"
    anchored = value["log"]["anchored"]["block"]
    if anchored < request.filed_at:
        expected = f"one of block {request.filed_at}, of the request, or later"
        raise VerificationFailed("$.log.anchored.block", anchored, expected)
    yield "$.log.anchored.block", "the log is shown up to a head anchored after the request"
