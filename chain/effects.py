"""What a proposal would do, tried out on a copy of the chain; and whether it did that.

`simulate` puts the actions into the copy's timelock as if they had been voted and had waited, and
lets it execute them, as anybody may then. What the contracts say before and after, both within the
copy and at the same block time, is the effect. Nothing is sent.

The digest binds calls and events, and neither block nor time, so that the members can vote on it:

    SHA-256 of the canonical JSON (RFC 8785) of
    {"actions": [{"calldata", "target", "value"}, …], "events": [{"address", "data", "topics"}, …]}

with all bytes as lower-case 0x-hex, `value` (wei) as decimal text, and the events in the order in
which the chain has them, as in a receipt's logs, but those by which the timelock and the governor
themselves say that they execute (CallExecuted, ProposalExecuted). An effect that was refused has
"refused" (the revert data) in place of "events". `effect_of` computes the same of a transaction
that executed; a difference means that the consortium changed between the vote and the act, or that
the actions do something else at another time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain import abi, canonical, layouts
from chain.calls import Call, RawLog
from chain.compile import Artifact
from chain.consents import ALL_MEMBERS, GrantRecord, GrantState
from chain.contract import Contract
from chain.errors import ContractRefused, NotDeployed
from chain.fork import SECONDS, Fork
from chain.governor import Proposal
from chain.membership import Standing
from chain.proposals import Action, Described, describe
from chain.timelock import operation_id

if TYPE_CHECKING:
    from chain.client import ChainClient
    from chain.network import Network

LOOK = 100
"""Newest jobs and grants that are looked at where the caller names none."""

# Where OpenZeppelin 5.3 keeps what a vote leaves behind. Both contracts are no proxies, and an
# effect that is tried out wrongly differs from what is executed (tests compare every kind).
_TIMESTAMPS_SLOT = 1  # TimelockController: mapping(bytes32 id => uint256)
_CALLS_SLOT = 5  # Governor: Bytes32Deque of the calls of itself that a vote allowed
_READY = 2  # a time long ago; 0 is "unknown" and 1 "done"

_UNREADABLE = (ContractRefused, NotDeployed)
_IMPLEMENTATION_SLOT = int.from_bytes(keccak(text="eip1967.proxy.implementation")) - 1
_NO_SALT = bytes(32)
_RELAY = "0x" + bytes(keccak(text="relay(address,uint256,bytes)"))[:4].hex()


@dataclass(frozen=True)
class Event:
    """An event by name, as far as our interfaces tell; `raw` is what the digest binds."""

    contract: str
    name: str
    args: Mapping[str, Any]
    raw: RawLog


@dataclass(frozen=True)
class Change:
    """`what` said `before` and says `after`; None: there was, or is, no such thing."""

    what: str
    before: Any
    after: Any


@dataclass(frozen=True)
class MemberChange:
    """`before` and `after` hold account, name and standing; None: no member."""

    member: str
    before: Mapping[str, str] | None
    after: Mapping[str, str] | None


@dataclass(frozen=True)
class CodeChange:
    """Other code behind a contract's address.

    `known_as` names the artifact of ours that it is, None where nobody knows it. `is_layout_ok`
    says whether it keeps what the old code has stored; None where one of the two is unknown.
    """

    name: str
    from_: str
    to: str
    code_hash: str
    known_as: str | None
    is_layout_ok: bool | None
    why: str


@dataclass(frozen=True)
class GrantChange:
    """Whether the grant can be used for purpose and algorithm: None yes, else why not."""

    grant: str
    purpose: str
    algorithm: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class JobChange:
    """Whether the open job may run: None yes, else why not."""

    job: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Refused:
    """The custom error with which the contracts would refuse, and its revert data."""

    error: str
    values: Mapping[str, Any]
    data: str


@dataclass(frozen=True)
class Effect:
    """`block` is the one that the copy was made of. `digest` is defined above.

    `jobs` and `grants` tell of those that were looked at.
    """

    block: int
    actions: tuple[Action, ...]
    described: tuple[Described, ...]
    events: tuple[Event, ...]
    members: tuple[MemberChange, ...]
    parameters: tuple[Change, ...]
    contracts: tuple[CodeChange, ...]
    grants: tuple[GrantChange, ...]
    jobs: tuple[JobChange, ...]
    refused: Refused | None
    digest: str

    def to_json(self) -> dict[str, Any]:
        """For a store or a page; integers that JSON does not hold exactly are decimal text."""
        value: dict[str, Any] = _plain(asdict(self))
        return value


def simulate(
    client: "ChainClient",
    network: "Network",
    actions: Sequence[Action],
    *,
    jobs: Sequence[str] | None = None,
    grants: Sequence[str] | None = None,
    known: Iterable[Artifact] | None = None,
    seconds: float = SECONDS,
) -> Effect:
    """Executes the actions in a copy of the newest block, as the timelock.

    Looks at these jobs and grants; at the newest `LOOK` of each where None. `known` are artifacts
    against which new code is held: by default ours. Raises ForkFailed, ChainUnavailable, within
    about `seconds`.
    """
    actions = tuple(actions)
    described = tuple(describe(network, action) for action in actions)
    with Fork(client, seconds=seconds) as fork:
        tried = network.on(fork.reader)
        watched = _Watched(_open_jobs(tried, jobs), _uses(tried, grants))
        before = _look(tried, fork, watched)
        past = network.at(fork.block.number)
        operation = _let_pass(fork, network, actions)
        targets, values, calldatas = Proposal(actions, "").arguments()
        zero = abi.to_hex(bytes(32))
        execute = Call(
            "TimelockController",
            "executeBatch",
            (targets, values, calldatas, zero, zero),
            network.timelock.address,
        )
        data = abi.encode_call(execute.contract, execute.function, execute.args)
        outcome = fork.play(execute.address, abi.to_hex(data))
        if outcome.reverted is not None:
            refused = _refused(outcome.reverted)
            digest = refused_digest(actions, outcome.reverted)
            return Effect(
                fork.block.number,
                actions,
                described,
                *((),) * 6,
                refused=refused,
                digest=digest,
            )
        _, logs = _of_operation(outcome.logs, network, operation)
        events = tuple(_event(log, network) for log in logs)
        after = _look(tried, fork, watched)
        named = _named(past, tried, events)
        return Effect(
            block=fork.block.number,
            actions=actions,
            described=described,
            events=events,
            members=tuple(
                MemberChange(member, old, new)
                for member, old, new in _differences(before.members, after.members)
            ),
            parameters=tuple(
                Change(*found) for found in _differences(before.parameters, after.parameters)
            )
            + named,
            contracts=tuple(
                _code_change(client, fork.block.number, name, old, new, known)
                for name, old, new in _differences(before.codes, after.codes)
            ),
            grants=tuple(
                GrantChange(key[0], key[1], key[2], old, new)
                for key, old, new in _differences(before.grants, after.grants)
            ),
            jobs=tuple(
                JobChange(job, old, new) for job, old, new in _differences(before.jobs, after.jobs)
            ),
            refused=None,
            digest=effect_digest(actions, logs),
        )


def effect_digest(actions: Sequence[Action], logs: Sequence[RawLog]) -> str:
    """As defined above; `logs` are the effect's alone."""
    return canonical.digest_of(
        {
            "actions": [action.to_json() for action in actions],
            "events": [log.to_json() for log in logs],
        }
    )


def refused_digest(actions: Sequence[Action], reverted: str) -> str:
    return canonical.digest_of(
        {"actions": [action.to_json() for action in actions], "refused": reverted.lower()}
    )


def effect_of(network: "Network", tx_hash: str, operation: str) -> str | None:
    """The digest of what a transaction really did for a proposal.

    `operation` is `Proposal.operation(governor)`; None where the transaction did not execute it.
    It may come through somebody's own contract: what that logs before is not counted
    (`_without_others`).  What contracts of the consortium did before in the same transaction is:
    a relayer that mixes things is seen as a difference.
    """
    found = _of_operation(network.client.logs_of(tx_hash), network, operation)
    return effect_digest(*found) if found[0] else None


# ------------------------------------------------------------------------------ executing


def _let_pass(fork: Fork, network: "Network", actions: Sequence[Action]) -> str:
    """Leaves in the copy what a passed vote and the wait would leave."""
    operation = operation_id(actions, _NO_SALT)
    timelock, governor = network.timelock.address, network.governor.address
    fork.store(timelock, _mapped(abi.to_bytes(operation), _TIMESTAMPS_SLOT), _READY)
    own = [action for action in actions if action.target == governor]
    # A Bytes32Deque: uint128 begin, uint128 end; then mapping(uint128 => bytes32).
    fork.store(governor, _CALLS_SLOT, len(own) << 128)
    for index, action in enumerate(own):
        allowed = int.from_bytes(keccak(abi.to_bytes(action.calldata)))
        fork.store(governor, _mapped(index.to_bytes(32), _CALLS_SLOT + 1), allowed)
    return operation


def _mapped(key: bytes, slot: int) -> int:
    return int.from_bytes(keccak(key + slot.to_bytes(32)))


def _of_operation(
    logs: Sequence[RawLog], network: "Network", operation: str
) -> tuple[list[Action], list[RawLog]]:
    """Calls and events of one operation of the timelock; it says of each call that it is over."""
    executed = abi.topic(abi.entry("TimelockController", "event", "CallExecuted"))
    ended = abi.topic(abi.entry("ConsortiumGovernor", "event", "ProposalExecuted"))
    timelock, governor = network.timelock.address.lower(), network.governor.address.lower()
    actions: list[Action] = []
    events: list[RawLog] = []
    waiting: list[RawLog] = []
    for log in logs:
        if log.address == timelock and log.topics[:1] == (executed,):
            _, args = abi.decode_event("TimelockController", log.topics, log.data)
            if args["id"] == operation:
                action = Action(args["target"], args["data"], args["value"])
                events.extend(waiting if actions else _without_others(waiting, action, network))
                actions.append(action)
            waiting.clear()
        elif log.address == governor and log.topics[:1] == (ended,):
            waiting.clear()
        else:
            waiting.append(log)
    return actions, events


def _without_others(logs: Sequence[RawLog], first: Action, network: "Network") -> Sequence[RawLog]:
    """What was logged until the first call was over, without what cannot be that call's own.

    Wallets and relayers log before they call. A call of a contract of the consortium says nothing
    through others before it has said something itself; the governor's `relay`, and whatever is
    not of the consortium, may.
    """
    own = {address.lower() for address in network.contracts}
    if first.target.lower() not in own or first.calldata.startswith(_RELAY):
        return logs
    return list(dropwhile(lambda log: log.address not in own, logs))


def _event(log: RawLog, network: "Network") -> Event:
    contract = network.contracts.get(to_checksum_address(log.address))
    if contract is None:
        return Event("", "Unknown", {"address": log.address}, log)
    name, args = abi.decode_event(contract, log.topics, log.data)
    return Event(contract, name, args, log)


def _refused(data: str) -> Refused:
    found = abi.refusal(abi.to_bytes(data), "TimelockController", "executeBatch")
    return Refused(found.error, found.values, data)


# ------------------------------------------------------------------------------ looking


@dataclass(frozen=True)
class _Watched:
    """Open jobs; and what active grants allow: grant, purpose, algorithm."""

    jobs: tuple[str, ...]
    uses: tuple[tuple[GrantRecord, str, str], ...]


def _open_jobs(network: "Network", jobs: Sequence[str] | None) -> tuple[str, ...]:
    named = _newest(network.jobs, "jobCount", "jobs") if jobs is None else jobs
    return tuple(job for job in named if not network.jobs.state(job).is_final)


def _uses(
    network: "Network", grants: Sequence[str] | None
) -> tuple[tuple[GrantRecord, str, str], ...]:
    consents = network.consents
    named = _newest(consents, "grantCount", "grants") if grants is None else grants
    active = [grant for grant in named if consents.state(grant) is GrantState.ACTIVE]
    return tuple(
        (record, purpose, algorithm)
        for record in map(consents.record, active)
        for purpose in record.terms.purposes
        for algorithm in record.terms.algorithms
    )


def _newest(contract: Contract, count: str, page: str) -> tuple[str, ...]:
    total = int(contract._read(count, block=None))
    return tuple(contract._read(page, max(0, total - LOOK), LOOK, block=None))


@dataclass(frozen=True)
class _Look:
    """What the contracts say at one moment."""

    members: Mapping[str, Mapping[str, str]]
    parameters: Mapping[str, Any]
    codes: Mapping[str, str]
    grants: Mapping[tuple[str, str, str], str | None]
    jobs: Mapping[str, str | None]


def _look(network: "Network", fork: Fork, watched: _Watched) -> _Look:
    return _Look(
        members=_members(network),
        parameters=_parameters(network),
        codes=_codes(network, fork),
        grants={
            (record.id, purpose, algorithm): _why(
                partial(_use, network, record, purpose, algorithm)
            )
            for record, purpose, algorithm in watched.uses
        },
        jobs={job: _why(partial(network.jobs.require_runnable, job)) for job in watched.jobs},
    )


def _members(network: "Network") -> dict[str, Mapping[str, str]]:
    """Empty where the membership cannot be read any more: then all members are gone."""
    found: dict[str, Mapping[str, str]] = {}
    try:
        for member in network.membership.members():
            facts = network.membership.member(member)
            standing = str(network.membership.standing(member))
            found[member] = {"account": facts.account, "name": facts.name, "standing": standing}
    except _UNREADABLE:
        return {}
    return found


def _parameters(network: "Network") -> dict[str, Any]:
    """Those that have a fixed name; `_named` has the others."""
    book = network.consortium
    return {
        "authority": _readable(book.authority),
        "constitution": _readable(book.constitution),
        **{
            f"contract {name}": _readable(partial(book.find_contract, name))
            for name in _names(network)
        },
        **_voting(network),
        "active members": _readable(network.membership.active_count),
        "required attestations": _readable(lambda: list(network.attestations.required_kinds())),
        "brake is pulled": _readable(network.brake.is_paused),
    }


def _voting(network: "Network") -> dict[str, Any]:
    found = asdict(network.governor.settings())
    return {f"voting {name}": value for name, value in found.items()}


def _readable(read: Callable[[], Any]) -> Any:
    """New code may lack what we ask for, and that is part of the effect."""
    try:
        return read()
    except _UNREADABLE as error:
        return f"cannot be read ({getattr(error, 'error', 'nothing answers')})"


def _names(network: "Network") -> tuple[str, ...]:
    from chain.network import CLIENTS

    return tuple(CLIENTS)


def _codes(network: "Network", fork: Fork) -> dict[str, str]:
    """Name → the address of the code behind the proxy of that name."""
    return {
        name: _implementation(fork, getattr(network, name).address)
        for name in ("consortium", *_names(network))
        if name not in ("governor", "timelock")
    }


def _implementation(fork: Fork, proxy: str) -> str:
    return str(to_checksum_address(fork.slot(proxy, _IMPLEMENTATION_SLOT).to_bytes(32)[12:]))


def _use(network: "Network", record: GrantRecord, purpose: str, algorithm: str) -> None:
    """What a job would need of the grant, but for the job's own."""
    terms = record.terms
    network.membership.require_active(record.owner)
    if terms.grantee == ALL_MEMBERS:
        grantee = _somebody(network, record.owner)
    else:
        grantee = terms.grantee
        network.membership.require_active(grantee)
    if not network.consortium.is_algorithm_allowed(algorithm):
        raise ContractRefused("ConsortiumAlgorithmNotAllowed", {"codeDigest": algorithm})
    network.consents.require_usable(
        record.id,
        grantee,
        terms.dataset_id,
        terms.from_version,
        purpose,
        algorithm,
        max(terms.min_parties, 2),
    )


def _somebody(network: "Network", owner: str) -> str:
    """An active member but the owner; the owner where there is no other."""
    for member in network.membership.members():
        if member != owner and network.membership.standing(member) is Standing.ACTIVE:
            return member
    return owner


def _why(question: Callable[[], None]) -> str | None:
    """None where nothing is refused, else the refusal."""
    try:
        question()
    except NotDeployed as error:
        return str(error)
    except ContractRefused as refusal:
        told = ", ".join(f"{name}={value}" for name, value in refusal.values.items())
        return f"{refusal.error}({told})"
    return None


def _named(past: "Network", now: "Network", events: Sequence[Event]) -> tuple[Change, ...]:
    """Parameters that bear the names which the events tell of."""
    readers: dict[str, Callable[[Network], Any]] = {}
    for event in events:
        found = _READERS.get((event.contract, event.name))
        if found is not None:
            what, read = found
            args = event.args
            readers[what.format(**args)] = lambda net, read=read, args=args: read(net, args)  # type: ignore[misc]
    changes = (Change(what, read(past), read(now)) for what, read in readers.items())
    return tuple(change for change in changes if change.before != change.after)


def _algorithm(net: "Network", args: Mapping[str, Any]) -> Any:
    digest = args["codeDigest"]
    if not net.consortium.is_algorithm_allowed(digest):
        return None
    return net.consortium.algorithm(digest).name


_Reader = tuple[str, Callable[["Network", Mapping[str, Any]], Any]]
_ALGORITHM: _Reader = ("algorithm {codeDigest}", _algorithm)
_SCHEME: _Reader = ("scheme {scheme}", lambda n, a: n.consortium.is_scheme_admitted(a["scheme"]))
_PURPOSE: _Reader = (
    "purpose {purpose}",
    lambda n, a: n.consortium.is_purpose_allowed(a["purpose"]),
)
_ISSUERS: _Reader = ("issuers of {kind}", lambda n, a: list(n.attestations.issuers(a["kind"])))
_ROLE: _Reader = (
    "timelock role {role} of {account}",
    lambda n, a: n.timelock.has_role(a["role"], a["account"]),
)
_READERS: Mapping[tuple[str, str], _Reader] = {
    ("Consortium", "AlgorithmAllowed"): _ALGORITHM,
    ("Consortium", "AlgorithmForbidden"): _ALGORITHM,
    ("Consortium", "SchemeAdmitted"): _SCHEME,
    ("Consortium", "SchemeWithdrawn"): _SCHEME,
    ("Consortium", "PurposeAllowed"): _PURPOSE,
    ("Consortium", "PurposeWithdrawn"): _PURPOSE,
    ("Consortium", "MinimumSet"): (
        "minimum {name}",
        lambda n, a: n.consortium.minimum(a["name"]),
    ),
    ("Attestations", "AttestationIssuerNamed"): _ISSUERS,
    ("Attestations", "AttestationIssuerRemoved"): _ISSUERS,
    ("Disputes", "DisputeRuling"): (
        "dispute {id}",
        lambda n, a: str(n.disputes.state(a["id"])),
    ),
    ("BreakGlass", "BreakGlassReviewed"): (
        "emergency access {id}",
        lambda n, a: str(n.breakglass.state(a["id"])),
    ),
    ("TimelockController", "RoleGranted"): _ROLE,
    ("TimelockController", "RoleRevoked"): _ROLE,
}
"""Event → what it tells of, and where the contracts say it."""


def _differences(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> list[tuple[Any, ...]]:
    keys = [*before, *(key for key in after if key not in before)]
    pairs = ((key, before.get(key), after.get(key)) for key in keys)
    return [(key, old, new) for key, old, new in pairs if old != new]


def _code_change(
    client: "ChainClient",
    block: int,
    name: str,
    old: str,
    new: str,
    known: Iterable[Artifact] | None,
) -> CodeChange:
    code = client.code(new, block)
    artifacts = layouts.artifacts() if known is None else tuple(known)
    before = layouts.known_as(client.code(old, block), old, artifacts)
    after = layouts.known_as(code, new, artifacts)
    is_ok, why = layouts.compare(before, after)
    return CodeChange(
        name=name,
        from_=old,
        to=new,
        code_hash=abi.to_hex(keccak(code)),
        known_as=None if after is None else after.name,
        is_layout_ok=is_ok,
        why=why,
    )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(found) for key, found in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(found) for found in value]
    if isinstance(value, int) and abs(value) > canonical.MAX_INTEGER:
        return str(value)
    return value
