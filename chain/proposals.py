"""Proposals as values: what is asked, in words and in calls, and the one from the other.

A proposal of the governor is a list of calls and a description. Ours holds a title, a body, and in
a last line what a program needs to build the same calls again:

    # Admit the shop
    <empty line>
    It signed its admission on …
    <empty line>
    <!-- fatechain-proposal {"effect":"0x…","kind":"admit","params":{…},"version":1} -->
    <empty line>
    #proposer=0x…

The very last words are the governor's: who sees the proposal on its way cannot make it first, and
kill it for good by withdrawing it.

Nobody has to believe the words: `matches` builds the calls from the parameters and compares, and
`describe` says what any call does, from the interfaces alone.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

from eth_utils.address import is_address, to_checksum_address
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)

from chain import canonical
from chain.abi import decode_call, encode_call, to_bytes, to_hex
from chain.calls import Call
from chain.errors import ProposalInvalid

if TYPE_CHECKING:
    from typing import Self

    from chain.contract import Contract
    from chain.network import Network

VERSION = 1
MAX_TITLE = 200
"""Characters."""
MAX_BODY = 20_000
"""Characters."""
MAX_CALLDATA = 100_000
"""Bytes of one call that we make or read."""
MAX_ACTIONS = 50
RULINGS: Mapping[str, int] = {"upheld": 1, "dismissed": 2}
"""Of a dispute; the contract's numbers."""

_MARK = "<!-- fatechain-proposal "
_END = " -->"
_DESCRIPTION = re.compile(
    r"# (?P<title>[^\n]+)\n\n(?P<body>.*)\n\n"
    + re.escape(_MARK)
    + r"(?P<json>\{[^\n]*\})"
    + re.escape(_END)
    + r"(?P<end>(?:\n\n#proposer=0x[0-9a-fA-F]{40})?)",
    re.DOTALL,
)


@dataclass(frozen=True)
class Action:
    """One call that an executed proposal makes. `calldata` is 0x-hex; `value` wei, 0 in ours."""

    target: str
    calldata: str
    value: int = 0

    @classmethod
    def of(cls, call: Call) -> "Action":
        """Raises ValueError when an argument does not fit its type."""
        data = encode_call(call.contract, call.function, call.args)
        return cls(to_checksum_address(call.address), to_hex(data))

    def to_json(self) -> dict[str, Any]:
        """Canonical: lower case, the value as decimal text."""
        return {
            "target": self.target.lower(),
            "calldata": self.calldata.lower(),
            "value": str(self.value),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Action":
        """Raises KeyError, ValueError on anything that `to_json` did not write."""
        to_bytes(value["calldata"])
        return cls(to_checksum_address(value["target"]), value["calldata"], int(value["value"]))


# ------------------------------------------------------------------------------ parameters


def _address(text: str) -> str:
    if not (text.startswith("0x") and is_address(text)):
        raise ValueError("not an address: 0x and 40 hex digits, checksummed or in one case")
    if int(text, 16) == 0:
        raise ValueError("the zero address is nobody's")
    return str(to_checksum_address(text))


def _bytes32(text: str) -> str:
    if len(text) != 66 or len(_hex(text)) != 66:
        raise ValueError("not 32 bytes: 0x and 64 hex digits")
    return text.lower()


def _hex(text: str) -> str:
    if re.fullmatch(r"0x(?:[0-9a-fA-F]{2})*", text) is None:
        raise ValueError("not 0x-hex")
    return text.lower()


def _word(text: str) -> str:
    if not text:
        raise ValueError("empty")
    canonical.word(text)
    return text


def _whole(value: Any) -> Any:
    """Decimal text, as JSON's numbers end at 2**53."""
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,78}", value) is None:
            raise ValueError("not a whole number in decimal digits")
        return int(value)
    return value


Address = Annotated[str, AfterValidator(_address)]
Bytes32 = Annotated[str, AfterValidator(_bytes32)]
Bytes = Annotated[str, Field(max_length=2 + 2 * 8192), AfterValidator(_hex)]
Word = Annotated[str, Field(max_length=31), AfterValidator(_word)]
Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Uint256 = Annotated[
    int,
    Field(ge=0, lt=2**256),
    BeforeValidator(_whole),
    PlainSerializer(str, return_type=str, when_used="json"),
]
Whole = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER), BeforeValidator(_whole)]


class Params(BaseModel):
    """Of a kind of proposal; `model_dump(mode="json")` is what the description holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Admit(Params):
    """Admit an institution that signed its admission (`Membership.typed_admission`)."""

    account: Address = Field(description="The institution's account.")
    name: Name = Field(description="What it is called.")
    nonce: Uint256 = Field(description="As in the signed admission.")
    acceptance: Bytes = Field(description="The account's signature of the admission.")


class OfMember(Params):
    member: Bytes32 = Field(description="The member's id.")


class Suspend(OfMember):
    """Suspend a member: its vote, its data and its jobs rest."""


class Reinstate(OfMember):
    """Reinstate a suspended member."""


class Expel(OfMember):
    """Expel a member for ever."""


class AllowAlgorithm(Params):
    """Allow a reviewed algorithm."""

    code_digest: Bytes32 = Field(description="SHA-256 of the code that was reviewed.")
    name: Name = Field(description="What it is called.")


class ForbidAlgorithm(Params):
    """Forbid an algorithm; jobs with it stop."""

    code_digest: Bytes32 = Field(description="Its code digest.")


class OfScheme(Params):
    scheme: Word = Field(description='A scheme of encryption, such as "paillier".')


class AdmitScheme(OfScheme):
    """Admit a scheme of encryption."""


class WithdrawScheme(OfScheme):
    """Withdraw a scheme of encryption."""


class SetMinimum(Params):
    """Set a minimum, such as key-bits or min-rows."""

    name: Word = Field(description='"key-bits", "min-rows", "pause-members", "pause-seconds", …')
    value: Whole = Field(description="The new value.")


class OfPurpose(Params):
    purpose: Word = Field(description='What data may be used for, such as "fraud".')


class AllowPurpose(OfPurpose):
    """Allow a purpose that grants and jobs may name."""


class WithdrawPurpose(OfPurpose):
    """Withdraw a purpose: grants and jobs with it stop."""


class Upgrade(Params):
    """Upgrade a contract of the consortium to code that is on the chain already."""

    name: Word = Field(description='Its name in the address book, or "consortium".')
    implementation: Address = Field(description="Where the new code stands.")
    code_hash: Bytes32 = Field(description="keccak256 of the code there.")


class SetConstitution(Params):
    """Change the constitution."""

    digest: Bytes32 = Field(description="SHA-256 of the new text.")


class RuleDispute(Params):
    """Rule a dispute between two members."""

    dispute: Bytes32 = Field(description="The dispute's id.")
    ruling: Annotated[str, Field(pattern="^(upheld|dismissed)$")] = Field(
        description='"upheld" or "dismissed".'
    )
    reasons: Bytes32 = Field(description="SHA-256 of the reasons.")


class RecoverAccount(Params):
    """Give a member that lost its key another account (`Membership.typed_recovery`)."""

    member: Bytes32 = Field(description="The member's id.")
    account: Address = Field(description="Its new account.")
    acceptance: Bytes = Field(description="The new account's signature of the recovery.")


class OfIssuer(Params):
    kind: Word = Field(description='What it attests, such as "iso27001".')
    issuer: Address = Field(description="The issuer's account.")


class NameIssuer(OfIssuer):
    """Name who may attest something of members."""


class RemoveIssuer(OfIssuer):
    """Trust an issuer's attestations no more."""


class RequireAttestation(Params):
    """Require an attestation of every party of a job, or require it no more."""

    kind: Word = Field(description="Which one.")
    required: bool = Field(description="true or false.")


class ReviewBreakGlass(Params):
    """Say whether an emergency access was justified."""

    emergency: Bytes32 = Field(description="Its id.")
    justified: bool = Field(description="true or false.")
    reasons: Bytes32 = Field(description="SHA-256 of the reasons.")


class ReleaseBrake(Params):
    """Release the emergency brake before its time."""


class SetVoting(Params):
    """Change how the consortium votes; what is left out stays."""

    voting_delay: Whole | None = Field(None, lt=2**48, description="Blocks before the vote.")
    voting_period: Whole | None = Field(None, gt=0, lt=2**32, description="Blocks of the vote.")
    late_quorum: Whole | None = Field(
        None, lt=2**48, description="Blocks left at least once the quorum is reached."
    )
    quorum_minimum: Whole | None = Field(None, gt=0, description="Fewest votes, however small.")
    timelock_delay: Whole | None = Field(None, description="Seconds from the vote to the act.")

    @model_validator(mode="after")
    def _changes_something(self) -> "Self":
        if not self.model_dump(exclude_none=True):
            raise ValueError("it changes nothing; give at least one of its fields")
        return self


class MoveAuthority(Params):
    """Hand all power over the consortium to another contract: for a new governor, say."""

    to: Address = Field(description="Who governs then.")


PARAMS: Mapping[str, type[Params]] = {
    "admit": Admit,
    "suspend": Suspend,
    "reinstate": Reinstate,
    "expel": Expel,
    "allow-algorithm": AllowAlgorithm,
    "forbid-algorithm": ForbidAlgorithm,
    "admit-scheme": AdmitScheme,
    "withdraw-scheme": WithdrawScheme,
    "set-minimum": SetMinimum,
    "allow-purpose": AllowPurpose,
    "withdraw-purpose": WithdrawPurpose,
    "upgrade": Upgrade,
    "set-constitution": SetConstitution,
    "rule-dispute": RuleDispute,
    "recover-account": RecoverAccount,
    "name-issuer": NameIssuer,
    "remove-issuer": RemoveIssuer,
    "require-attestation": RequireAttestation,
    "review-break-glass": ReviewBreakGlass,
    "release-brake": ReleaseBrake,
    "set-voting": SetVoting,
    "move-authority": MoveAuthority,
}
"""Kind → its parameters; the class's docstring says what the kind does."""


# ------------------------------------------------------------------------------ drafts


@dataclass(frozen=True)
class Draft:
    """What somebody wants to put to the vote; made by `draft` or `parse`, which check it."""

    kind: str
    title: str
    body: str
    params: Params

    def params_json(self) -> dict[str, Any]:
        """What is left out of optional parameters is left out here."""
        return self.params.model_dump(mode="json", exclude_none=True)


def draft(kind: str, params: Mapping[str, Any], *, title: str, body: str = "") -> Draft:
    """Checks everything that can be checked without the chain. Raises ProposalInvalid."""
    model = PARAMS.get(kind)
    if model is None:
        raise ProposalInvalid("kind", kind, ", ".join(PARAMS))
    if not 1 <= len(title) <= MAX_TITLE or title != title.strip() or not title.isprintable():
        allowed = f"one line of 1 to {MAX_TITLE} printable characters"
        raise ProposalInvalid("title", title[: MAX_TITLE + 1], allowed)
    if len(body) > MAX_BODY or body != body.strip() or "\r" in body or "\0" in body:
        allowed = f"at most {MAX_BODY} characters, no space around, lines end with \\n"
        raise ProposalInvalid("body", f"{len(body)} characters", allowed)
    if _MARK.strip() in body:
        raise ProposalInvalid("body", _MARK.strip(), "text without the mark of the last line")
    try:
        checked = model.model_validate(dict(params))
    except ValidationError as error:
        raise _invalid(kind, error) from None
    made = Draft(kind, title, body, checked)
    if _END.strip() in canonical.dumps(made.params_json()).decode():
        raise ProposalInvalid("params", _END.strip(), "text without the end of a comment")
    return made


def description(draft: Draft, effect_digest: str | None, proposer: str | None = None) -> str:
    """The text that goes on the chain; `effect_digest` is that of the effect that was previewed.

    With a `proposer` the governor takes it from that account alone.
    """
    stated: dict[str, Any] = {
        "version": VERSION,
        "kind": draft.kind,
        "params": draft.params_json(),
        "effect": effect_digest,
    }
    hidden = canonical.dumps(stated).decode()
    end = "" if proposer is None else f"\n\n#proposer={to_checksum_address(proposer)}"
    return f"# {draft.title}\n\n{draft.body}\n\n{_MARK}{hidden}{_END}{end}"


def parse(text: str) -> tuple[Draft, str | None]:
    """What `description` was given. Raises ProposalInvalid for every other text.

    So it does for proposals that were made by other programs: `describe` tells of those.
    """
    limit = 2 * MAX_BODY + MAX_CALLDATA
    if len(text) > limit:
        raise ProposalInvalid("description", f"{len(text)} characters", f"at most {limit}")
    found = _DESCRIPTION.fullmatch(text)
    if found is None:
        raise ProposalInvalid("description", text[:80], "the form that this program writes")
    try:
        stated = canonical.loads(found["json"].encode())
    except (canonical.NotCanonical, UnicodeEncodeError) as error:
        raise ProposalInvalid("description", str(error), "canonical JSON in its mark") from None
    if not isinstance(stated, dict) or set(stated) != {"version", "kind", "params", "effect"}:
        fields = sorted(stated) if isinstance(stated, dict) else type(stated).__name__
        raise ProposalInvalid("description", fields, ["effect", "kind", "params", "version"])
    if stated["version"] != VERSION or not isinstance(stated["version"], int):
        raise ProposalInvalid("version", stated["version"], VERSION)
    if not (isinstance(stated["kind"], str) and isinstance(stated["params"], dict)):
        raise ProposalInvalid("description", found["json"][:80], "kind is text, params an object")
    effect = stated["effect"]
    if effect is not None and not (isinstance(effect, str) and _is_digest(effect)):
        raise ProposalInvalid("effect", str(effect)[:80], "null, or 0x and 64 lower hex digits")
    made = draft(stated["kind"], stated["params"], title=found["title"], body=found["body"])
    if description(made, effect) + found["end"] != text:
        raise ProposalInvalid("description", text[:80], "the form that this program writes")
    return made, effect


def _is_digest(text: str) -> bool:
    return re.fullmatch(r"0x[0-9a-f]{64}", text) is not None


def _invalid(kind: str, error: ValidationError) -> ProposalInvalid:
    first = error.errors(include_url=False, include_input=True, include_context=False)[0]
    where = ".".join(map(str, first["loc"])) or "params"
    model = PARAMS[kind].model_fields
    allowed = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        allowed = f"{kind} takes {', '.join(model) or 'no parameters'}"
    return ProposalInvalid(
        f"{kind}: {where}", json.dumps(first["input"], default=str)[:80], allowed
    )


# ------------------------------------------------------------------------------ calls

Builder = Callable[[Any, "Network"], Sequence[Call]]


def _call(contract: "Contract", function: str, *args: Any) -> Call:
    return Call(contract.artifact, function, args, contract.address)


def _set_voting(p: SetVoting, net: "Network") -> list[Call]:
    wanted = (
        (p.voting_delay, net.governor, "setVotingDelay"),
        (p.voting_period, net.governor, "setVotingPeriod"),
        (p.late_quorum, net.governor, "setLateQuorumVoteExtension"),
        (p.quorum_minimum, net.governor, "setQuorumMinimum"),
        (p.timelock_delay, net.timelock, "updateDelay"),
    )
    return [_call(at, function, value) for value, at, function in wanted if value is not None]


_BUILD: Mapping[str, Builder] = {
    "admit": lambda p, n: [_call(n.membership, "admit", p.account, p.name, p.nonce, p.acceptance)],
    "suspend": lambda p, n: [_call(n.membership, "suspend", p.member)],
    "reinstate": lambda p, n: [_call(n.membership, "reinstate", p.member)],
    "expel": lambda p, n: [_call(n.membership, "expel", p.member)],
    "allow-algorithm": lambda p, n: [_call(n.consortium, "allowAlgorithm", p.code_digest, p.name)],
    "forbid-algorithm": lambda p, n: [_call(n.consortium, "forbidAlgorithm", p.code_digest)],
    "admit-scheme": lambda p, n: [_call(n.consortium, "admitScheme", p.scheme)],
    "withdraw-scheme": lambda p, n: [_call(n.consortium, "withdrawScheme", p.scheme)],
    "set-minimum": lambda p, n: [_call(n.consortium, "setMinimum", p.name, p.value)],
    "allow-purpose": lambda p, n: [_call(n.consortium, "allowPurpose", p.purpose)],
    "withdraw-purpose": lambda p, n: [_call(n.consortium, "withdrawPurpose", p.purpose)],
    "upgrade": lambda p, n: [_call(n.consortium, "upgrade", p.name, p.implementation, p.code_hash)],
    "set-constitution": lambda p, n: [_call(n.consortium, "setConstitution", p.digest)],
    "rule-dispute": lambda p, n: [
        _call(n.disputes, "rule", p.dispute, RULINGS[p.ruling], p.reasons)
    ],
    "recover-account": lambda p, n: [
        _call(n.membership, "recover", p.member, p.account, p.acceptance)
    ],
    "name-issuer": lambda p, n: [_call(n.attestations, "nameIssuer", p.kind, p.issuer)],
    "remove-issuer": lambda p, n: [_call(n.attestations, "removeIssuer", p.kind, p.issuer)],
    "require-attestation": lambda p, n: [_call(n.attestations, "setRequired", p.kind, p.required)],
    "review-break-glass": lambda p, n: [
        _call(n.breakglass, "review", p.emergency, p.justified, p.reasons)
    ],
    "release-brake": lambda p, n: [_call(n.brake, "release")],
    "set-voting": _set_voting,
    "move-authority": lambda p, n: [_call(n.consortium, "moveAuthority", p.to)],
}


def actions(draft: Draft, network: "Network") -> tuple[Action, ...]:
    """The calls that the proposal makes in this consortium."""
    return tuple(Action.of(call) for call in _BUILD[draft.kind](draft.params, network))


def matches(draft: Draft, found: Sequence[Action], network: "Network") -> bool:
    """Whether these are the calls that the description tells of, all of them and no other."""
    return tuple(found) == actions(draft, network)


# ------------------------------------------------------------------------------ in plain words


@dataclass(frozen=True)
class Described:
    """What a call does. `known` is False where no interface of ours tells: `text` says it loud."""

    contract: str
    function: str
    args: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""
    known: bool = True


_TEXTS: Mapping[str, str] = {
    "Membership.admit": "admit {account} as the member {name!r}",
    "Membership.suspend": "suspend the member {id}",
    "Membership.reinstate": "reinstate the member {id}",
    "Membership.expel": "expel the member {id} for ever",
    "Membership.recover": "give the member {id} the account {account}",
    "Consortium.allowAlgorithm": "allow the algorithm {name!r} with the code {codeDigest}",
    "Consortium.forbidAlgorithm": "forbid the algorithm with the code {codeDigest}",
    "Consortium.admitScheme": "admit the scheme {scheme!r}",
    "Consortium.withdrawScheme": "withdraw the scheme {scheme!r}",
    "Consortium.setMinimum": "set the minimum {name!r} to {value}",
    "Consortium.allowPurpose": "allow the purpose {purpose!r}",
    "Consortium.withdrawPurpose": "withdraw the purpose {purpose!r}",
    "Consortium.upgrade": (
        "upgrade the contract {name!r} to the code at {implementation} with the hash {codeHash}"
    ),
    "Consortium.setConstitution": "make the text with the digest {digest} the constitution",
    "Consortium.setContract": "enter {at} into the address book as {name!r}",
    "Consortium.moveAuthority": "hand all power over the consortium to {to}",
    "Disputes.rule": "rule the dispute {id} (1 upheld, 2 dismissed): {ruling}, reasons {reasons}",
    "Attestations.nameIssuer": "let {issuer} attest {kind!r}",
    "Attestations.removeIssuer": "trust attestations of {kind!r} by {issuer} no more",
    "Attestations.setRequired": "require the attestation {kind!r} of parties of jobs: {required}",
    "BreakGlass.review": "say of the emergency access {id}: justified {justified}",
    "Brake.release": "release the emergency brake",
    "AuditAnchor.forgetCosigners": "look up again by which keys the member {member} cosigns logs",
    "ConsortiumGovernor.setVotingDelay": "begin votes {newVotingDelay} blocks after the proposal",
    "ConsortiumGovernor.setVotingPeriod": "let votes last {newVotingPeriod} blocks",
    "ConsortiumGovernor.setLateQuorumVoteExtension": (
        "leave at least {newVoteExtension} blocks once the quorum is reached"
    ),
    "ConsortiumGovernor.setQuorumMinimum": "need at least {minimum} votes for a quorum",
    "TimelockController.updateDelay": "wait {newDelay} seconds from a passed vote to its effect",
}


def describe(network: "Network", action: Action) -> Described:
    """What the call does, decoded by the interface of the contract that stands at its target."""
    contract = network.contracts.get(to_checksum_address(action.target))
    if contract is None:
        text = f"UNKNOWN: a call of {action.target}, which is no contract of this consortium"
        return Described("", "", {}, _paid(action, text), known=False)
    try:
        function, args = decode_call(contract, to_bytes(action.calldata))
    except ValueError:
        text = f"UNKNOWN: a call of {contract} that its interface does not declare"
        return Described(contract, "", {}, _paid(action, text), known=False)
    template = _TEXTS.get(f"{contract}.{function}")
    if template is None:
        told = ", ".join(f"{name}={value}" for name, value in args.items())
        text = f"call {contract}.{function}({told})"
    else:
        text = template.format(**args)
    return Described(contract, function, args, _paid(action, text))


def _paid(action: Action, text: str) -> str:
    return f"{text}; and pay {action.value} wei" if action.value else text
