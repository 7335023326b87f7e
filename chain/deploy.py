"""Putting a consortium on a chain: run it again at any time, after any interruption.

Each transaction is written to the state file before it is sent. A run that was cut off finds there
what it had asked for, and on the chain what came of it; so nothing is created twice, and a finished
deployment is only checked. Rules (addresses, roles, purposes, algorithms, schemes, minimums,
constitution) are set only where the chain does not say so already.

    1. the implementations, the timelock   4. the governor; address book and the other rules
    2. the consortium's proxy              5. the governor in the book, and its roles
    3. the other proxies                   6. the deployer's role in the timelock given up

Within a step all is sent at once, so that a deployment takes six blocks where they are large
enough. The deployer is the consortium's authority then, so that it can admit the founders;
`found` is the last step: it hands the authority to the timelock, and with it to the members' votes.
After it a run of `deploy` only compares, and names for each rule that differs the proposal that
would set it.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chain.abi import encode_call, to_hex
from chain.calls import Call, Creation, Fees, SignedTx, Transaction
from chain.client import ChainClient
from chain.consortium import Consortium
from chain.errors import (
    ChainError,
    DeploymentMismatch,
    FoundingRefused,
    NonceTaken,
    TransactionFailed,
)
from chain.governor import GovernanceSettings, Governor
from chain.ids import ZERO_ID
from chain.membership import Member, Standing
from chain.network import Network, NetworkFile
from chain.timelock import (
    ADMIN_ROLE,
    ANYONE,
    CANCELLER_ROLE,
    EXECUTOR_ROLE,
    PROPOSER_ROLE,
    Timelock,
)

PROXIES: Mapping[str, str] = {
    "membership": "Membership",
    "sites": "SiteRegistry",
    "datasets": "DatasetRegistry",
    "consents": "ConsentRegistry",
    "jobs": "JobRegistry",
    "models": "ModelRegistry",
    "anchors": "AuditAnchor",
    "reviews": "Reviews",
    "attestations": "Attestations",
    "disputes": "Disputes",
    "brake": "Brake",
    "breakglass": "BreakGlass",
    "equivocations": "Equivocations",
    "auditrequests": "AuditRequests",
}
"""Name in the address book → artifact."""

PLAIN: Mapping[str, str] = {"timelock": "TimelockController", "governor": "ConsortiumGovernor"}
"""Those that stand behind no proxy: nobody upgrades what decides about upgrades."""

DEFAULT_SCHEMES = ("paillier",)
DEFAULT_MINIMUMS: Mapping[str, int] = {
    "key-bits": 2048,
    "min-rows": 50,
    "min-bin-rows": 10,
    "min-samples-leaf": 10,
    "min-cosigners": 1,
}
DEFAULT_PURPOSES = (
    "credit-risk",
    "fraud",
    "medical-research",
    "quality",
    "demo",
    "training",
    "prediction",
    "emergency",
)
LEAST_FOUNDERS = 2


@dataclass(frozen=True)
class Rule:
    """Something that the chain shall say. `call` makes it say so, by the authority.

    `kind` and `params` are the proposal that would set it once the members govern; None where only
    a founding authority can.
    """

    is_so: Callable[[], bool]
    call: Call
    kind: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.call.function} {' '.join(map(str, self.call.args))}"


@dataclass(frozen=True)
class Difference:
    """A rule that was asked for and does not stand, and the proposal that would set it, if any."""

    rule: str
    kind: str | None
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A consortium on a chain. `contracts` maps names to addresses, `blocks` to the block of each.

    `gas` is what all its transactions used; `from_block` precedes every event of the consortium.
    `is_founded`: the members govern. `differences` are rules that this run was not able to set.
    """

    chain_id: int
    consortium: str
    contracts: Mapping[str, str]
    blocks: Mapping[str, int]
    gas: int
    is_founded: bool = False
    differences: tuple[Difference, ...] = ()

    @property
    def from_block(self) -> int:
        return min(self.blocks.values())

    @property
    def network_file(self) -> NetworkFile:
        """What a node needs to know."""
        return NetworkFile(self.chain_id, self.consortium, self.from_block)

    def to_json(self) -> str:
        return self.network_file.to_json()


def deploy(
    client: ChainClient,
    state_path: Path | None,
    *,
    authority: str | None = None,
    algorithms: Mapping[str, str] | None = None,
    schemes: Sequence[str] = DEFAULT_SCHEMES,
    minimums: Mapping[str, int] = DEFAULT_MINIMUMS,
    purposes: Sequence[str] = DEFAULT_PURPOSES,
    constitution: str = ZERO_ID,
    governance: GovernanceSettings | Mapping[str, int] | None = None,
) -> Deployment:
    """Deploys with the client's account, or completes and checks what an earlier run began.

    `algorithms` maps code digests to names. Without a `state_path` nothing is remembered and each
    run makes a new consortium. `authority` moves the authority to an account that founds later. Of
    `governance` the usual settings stand in for what is left out; only what is named is compared
    with what stands already. Raises DeploymentMismatch when the file is of another chain or
    account, and whatever sending raises: run it again then.
    """
    steps = _Steps(client, state_path)
    deployer = client.address
    asked = asdict(governance) if isinstance(governance, GovernanceSettings) else governance or {}
    wanted = GovernanceSettings(**asked)
    names = {"consortium": "Consortium", **PROXIES}
    codes = {f"code {name}": Creation(artifact) for name, artifact in names.items()}
    waiting: tuple[Any, ...] = (wanted.timelock_delay, [], [ANYONE], deployer)
    made = steps.create({**codes, "timelock": Creation(PLAIN["timelock"], waiting)})
    timelock = Timelock(client, made[-1])
    book = Consortium(client, steps.proxies({"consortium": "Consortium"}, deployer)[0])
    proxies = steps.proxies(PROXIES, book.address)
    contracts = {"consortium": book.address, **dict(zip(PROXIES, proxies, strict=True))}
    contracts["timelock"] = timelock.address
    booked = [_booked(book, name, address) for name, address in contracts.items()][1:]
    rules = [
        *booked,
        *_constitution(book, constitution),
        *(_allowed(book, digest, label) for digest, label in (algorithms or {}).items()),
        *(_admitted(book, scheme) for scheme in schemes),
        *(_minimum(book, name, value) for name, value in minimums.items()),
        *(_purpose(book, purpose) for purpose in purposes),
    ]
    creation = _governor(contracts["membership"], timelock.address, wanted)
    is_founded = book.authority() == timelock.address
    created = steps.create({"governor": creation}, () if is_founded else rules)
    governor = Governor(client, created[0])
    contracts["governor"] = governor.address
    last = [_booked(book, "governor", governor.address), *_roles(timelock, governor.address)]
    if not is_founded:
        steps.rules(last)
        steps.rules([_renounced(timelock, deployer)])
        if authority is not None:
            steps.rules([_governed_by(book, authority)])
    Network.open(client, book.address)
    unset = [rule for rule in (*rules, *last) if not rule.is_so()] if is_founded else []
    return Deployment(
        chain_id=client.chain_id,
        consortium=book.address,
        contracts=contracts,
        blocks={name: steps.block_of(name) for name in contracts},
        gas=steps.gas,
        is_founded=is_founded,
        differences=(
            *(Difference(rule.name, rule.kind, rule.params) for rule in unset),
            *_voting(governor, asked),
        ),
    )


# ------------------------------------------------------------------------------ founding


@dataclass(frozen=True)
class Founding:
    """Who governs now: `members`, by the rules in `settings`, through the governor.

    `is_new` is False where they did before.
    """

    governor: str
    timelock: str
    members: tuple[Member, ...]
    settings: GovernanceSettings
    is_new: bool


def found(client: ChainClient, network: Network, *, is_alone: bool = False) -> Founding:
    """Hands the authority to the timelock. There is no way back but a vote.

    Raises FoundingRefused while a step of the deployment is missing, or with fewer than two active
    members unless `is_alone`. Once the members govern it only tells who they are.
    """
    book, governor, timelock = network.consortium, network.governor, network.timelock
    members = _active(network)
    settings = governor.settings()
    is_new = book.authority() != timelock.address
    if is_new:
        _refuse_half(client, network, len(members), settings, is_alone)
        try:
            client.transact(book.move_authority(timelock.address))
        except ChainError:
            # What an interrupted run had sent may have been mined in between.
            if book.authority() != timelock.address:
                raise
    return Founding(governor.address, timelock.address, members, settings, is_new)


def _active(network: Network) -> tuple[Member, ...]:
    membership = network.membership.at(network.client.head().number)
    return tuple(
        membership.member(member)
        for member in membership.members()
        if membership.standing(member) is Standing.ACTIVE
    )


def _refuse_half(
    client: ChainClient,
    network: Network,
    members: int,
    settings: GovernanceSettings,
    is_alone: bool,
) -> None:
    """A consortium that cannot vote would be stuck for ever."""
    timelock, governor = network.timelock, network.governor.address
    missing = [rule.name for rule in _roles(timelock, governor) if not rule.is_so()]
    if not _renounced(timelock, client.address).is_so():
        missing.append("the deployer gives up the timelock's administration")
    if missing:
        raise FoundingRefused(f"missing: {'; '.join(missing)}", "run `fatechain deploy` first")
    if network.governor.timelock() != timelock.address:
        raise FoundingRefused("the governor acts through another timelock", "deploy again")
    found = f"{members} active member{'' if members == 1 else 's'}"
    if members < (1 if is_alone else LEAST_FOUNDERS):
        raise FoundingRefused(
            found,
            f"admit the founders first: {LEAST_FOUNDERS} at least, or one with --alone, "
            "which then decides alone about who else comes in",
        )
    if members < settings.quorum_minimum:
        raise FoundingRefused(found, f"the quorum needs {settings.quorum_minimum}: admit more")


# ------------------------------------------------------------------------------ steps


@dataclass
class _Step:
    """A transaction that was asked for; block, gas and address once it took effect."""

    raw: str
    hash: str
    nonce: int
    gas_limit: int
    max_fee: int
    priority_fee: int
    block: int | None = None
    gas: int = 0
    address: str | None = None
    replaced: list[str] = field(default_factory=list)  # hashes; one of them may be mined instead

    @classmethod
    def of(cls, signed: SignedTx) -> "_Step":
        fees = signed.fees
        return cls(
            signed.raw, signed.hash, signed.nonce, signed.gas, fees.max_fee, fees.priority_fee
        )

    @property
    def signed(self) -> SignedTx:
        fees = Fees(self.max_fee, self.priority_fee)
        return SignedTx(self.raw, self.hash, self.nonce, self.gas_limit, fees)


class _Steps:
    """The transactions of a deployment by name, kept in the state file."""

    def __init__(self, client: ChainClient, path: Path | None) -> None:
        self._client = client
        self._path = path
        self._steps: dict[str, _Step] = {}
        self._next_nonce = 0
        if path is not None and path.exists():
            self._load(json.loads(path.read_text(encoding="utf-8")))

    @property
    def gas(self) -> int:
        return sum(step.gas for step in self._steps.values())

    def block_of(self, name: str) -> int:
        """The block in which the contract of that name was made."""
        block = self._steps[name if name in PLAIN else f"proxy {name}"].block
        assert block is not None
        return block

    def create(self, creations: Mapping[str, Creation], rules: Sequence[Rule] = ()) -> list[str]:
        """Addresses of the contracts made by these steps, in their order.

        `rules` are seen to in the same go.
        """
        missing = {n: c for n, c in creations.items() if not self._stands(n)}
        self.rules(rules, missing)
        addresses = [self._steps[name].address for name in creations]
        return [address for address in addresses if address is not None]

    def proxies(self, artifacts: Mapping[str, str], argument: str) -> list[str]:
        """Addresses of proxies of the codes; `argument` is what each `initialize` takes.

        Initialised by the constructor: nobody can come between.
        """
        creations = {}
        for name, artifact in artifacts.items():
            code = self._steps[f"code {name}"].address
            initialize = to_hex(encode_call(artifact, "initialize", [argument]))
            creations[f"proxy {name}"] = Creation("ERC1967Proxy", (code, initialize))
        return self.create(creations)

    def rules(
        self, rules: Sequence[Rule], creations: Mapping[str, Transaction] | None = None
    ) -> None:
        """Sees to it that the chain says so. The chain decides, not the file."""
        named = {rule.name: rule for rule in rules}
        begun = {
            name: rule.call
            for name, rule in named.items()
            if name in self._steps and not self._steps[name].block
        }
        self._send(begun)
        missing = {name: rule.call for name, rule in named.items() if not rule.is_so()}
        for name in missing:
            self._steps.pop(name, None)
        self._send({**(creations or {}), **missing})

    def _stands(self, name: str) -> bool:
        step = self._steps.get(name)
        return step is not None and step.address is not None and self._client.has_code(step.address)

    def _send(self, wanted: Mapping[str, Transaction]) -> None:
        """Sends the steps that were not sent before, all at once, and notes what came of each."""
        for name, what in wanted.items():
            if not self._taken_up(name):
                self._sign_and_send(name, what)
        for name, what in wanted.items():
            receipt = self._client.see_through(
                what, self._steps[name].signed, note=partial(self._note, name)
            )
            step = self._steps[name]
            if not receipt.status:
                del self._steps[name]
                self._save()
                raise TransactionFailed(step.hash, f"deployment step {name!r} reverted")
            step.block = receipt.block_number
            step.gas = receipt.gas_used
            step.address = receipt.contract_address
            self._save()

    def _taken_up(self, name: str) -> bool:
        """Whether what an interrupted run wrote down is on the chain now, or on its way."""
        step = self._steps.get(name)
        if step is None:
            return False
        for tx_hash in (step.hash, *step.replaced):
            receipt = self._client.find_receipt(tx_hash)
            if receipt is not None:
                step.hash = tx_hash
                return receipt.status
        if not self._client.knows(step.hash):
            # Beyond the count it would wait for ever, and below it somebody took its place.
            if not self._client.nonce("latest") <= step.nonce <= self._free_nonce():
                return False
            try:
                self._client.broadcast(step.raw)
            except NonceTaken:
                return False
        self._next_nonce = max(self._next_nonce, step.nonce + 1)
        return True

    def _free_nonce(self) -> int:
        """Not every engine counts what waits in its pool."""
        return max(self._client.nonce("pending"), self._next_nonce)

    def _sign_and_send(self, name: str, what: Transaction) -> None:
        nonce = self._free_nonce()
        signed = self._client.sign(what, nonce)
        self._note(name, signed)
        self._client.broadcast(signed.raw)
        self._next_nonce = nonce + 1

    def _note(self, name: str, signed: SignedTx) -> None:
        """Written down before it is sent: whatever happens next, we know what to look for."""
        before, step = self._steps.get(name), _Step.of(signed)
        if before is not None and before.nonce == step.nonce:
            step.replaced = [*before.replaced, before.hash]
        self._steps[name] = step
        self._save()

    def _load(self, value: dict[str, Any]) -> None:
        for what, expected in (
            ("chainId", self._client.chain_id),
            ("deployer", self._client.address),
        ):
            if value[what] != expected:
                raise DeploymentMismatch(f"{what} in {self._path}", value[what], expected)
        self._steps = {name: _Step(**step) for name, step in value["steps"].items()}

    def _save(self) -> None:
        if self._path is None:
            return
        value = {
            "chainId": self._client.chain_id,
            "deployer": self._client.address,
            "steps": {name: asdict(step) for name, step in self._steps.items()},
        }
        _replace(self._path, json.dumps(value, indent=1) + "\n")


# ------------------------------------------------------------------------------ rules


def _booked(book: Consortium, name: str, address: str) -> Rule:
    return Rule(lambda: book.find_contract(name) == address, book.set_contract(name, address))


def _constitution(book: Consortium, digest: str) -> list[Rule]:
    if digest == ZERO_ID:
        return []
    call = book.set_constitution(digest)
    is_so = lambda: book.constitution() == digest  # noqa: E731
    return [Rule(is_so, call, "set-constitution", {"digest": digest})]


def _allowed(book: Consortium, digest: str, label: str) -> Rule:
    call = book.allow_algorithm(digest, label)
    params = {"code_digest": digest, "name": label}
    return Rule(lambda: book.is_algorithm_allowed(digest), call, "allow-algorithm", params)


def _admitted(book: Consortium, scheme: str) -> Rule:
    call = book.admit_scheme(scheme)
    return Rule(lambda: book.is_scheme_admitted(scheme), call, "admit-scheme", {"scheme": scheme})


def _minimum(book: Consortium, name: str, value: int) -> Rule:
    call = book.set_minimum(name, value)
    params = {"name": name, "value": value}
    return Rule(lambda: book.minimum(name) == value, call, "set-minimum", params)


def _purpose(book: Consortium, purpose: str) -> Rule:
    call = book.allow_purpose(purpose)
    params = {"purpose": purpose}
    return Rule(lambda: book.is_purpose_allowed(purpose), call, "allow-purpose", params)


def _governor(membership: str, timelock: str, wanted: GovernanceSettings) -> Creation:
    return Creation(
        PLAIN["governor"],
        (
            membership,
            timelock,
            wanted.voting_delay,
            wanted.voting_period,
            wanted.quorum_minimum,
            wanted.late_quorum,
        ),
    )


def _roles(timelock: Timelock, governor: str) -> list[Rule]:
    """The governor alone puts things into the timelock and takes them out; anyone carries out."""
    held = ((PROPOSER_ROLE, governor), (CANCELLER_ROLE, governor), (EXECUTOR_ROLE, ANYONE))
    return [
        Rule(partial(timelock.has_role, role, account), timelock.grant_role(role, account))
        for role, account in held
    ]


def _renounced(timelock: Timelock, deployer: str) -> Rule:
    """Only after the governor holds its roles: nobody could give them any more."""
    call = timelock.renounce_role(ADMIN_ROLE, deployer)
    return Rule(lambda: not timelock.has_role(ADMIN_ROLE, deployer), call)


def _governed_by(book: Consortium, authority: str) -> Rule:
    return Rule(lambda: book.authority() == authority, book.move_authority(authority))


def _voting(governor: Governor, asked: Mapping[str, int]) -> list[Difference]:
    """How the votes go is fixed when the governor is made; afterwards only they change it."""
    found = asdict(governor.settings())
    other = {name: value for name, value in asked.items() if found[name] != value}
    if not other:
        return []
    told = ", ".join(f"{name} is {found[name]}, not {value}" for name, value in other.items())
    return [Difference(told, "set-voting", other)]


def _replace(path: Path, text: str) -> None:
    """Writes the whole file or leaves the old one, also when the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
