"""Putting a consortium on a chain: run it again at any time, after any interruption.

Each transaction is written to the state file before it is sent. A run that was cut off finds there
what it had asked for, and on the chain what came of it; so nothing is created twice, and a finished
deployment is only checked. Rules (addresses, algorithms, schemes, minimums, constitution) are set
only where the chain does not say so already.

    1. the implementations        3. the other proxies
    2. the consortium's proxy     4. address book, constitution, algorithms, schemes, minimums
                                  5. the authority, when it shall be another account's

Within a step all is sent at once, so that a deployment takes five blocks.
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
from chain.errors import ContractRefused, DeploymentMismatch, NonceTaken, TransactionFailed
from chain.ids import ZERO_ID
from chain.network import Network, NetworkFile

PROXIES: Mapping[str, str] = {
    "membership": "Membership",
    "sites": "SiteRegistry",
    "datasets": "DatasetRegistry",
    "consents": "ConsentRegistry",
    "jobs": "JobRegistry",
    "models": "ModelRegistry",
    "anchors": "AuditAnchor",
}
"""Name in the address book → artifact."""

Rule = tuple[Callable[[], bool], Call]
"""Whether the chain says so already, and the call that makes it say so."""

DEFAULT_SCHEMES = ("paillier",)
DEFAULT_MINIMUMS: Mapping[str, int] = {"key-bits": 2048, "min-rows": 50}


@dataclass(frozen=True)
class Deployment:
    """A consortium on a chain. `contracts` maps names to proxies, `blocks` to the block of each.

    `gas` is what all its transactions used; `from_block` precedes every event of the consortium.
    """

    chain_id: int
    consortium: str
    contracts: Mapping[str, str]
    blocks: Mapping[str, int]
    gas: int

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
    constitution: str = ZERO_ID,
) -> Deployment:
    """Deploys with the client's account, or completes and checks what an earlier run began.

    `algorithms` maps code digests to names. Without a `state_path` nothing is remembered and each
    run makes a new consortium. Raises DeploymentMismatch when the file is of another chain or
    account, and whatever sending raises: run it again then.
    """
    steps = _Steps(client, state_path)
    names = {"consortium": "Consortium", **PROXIES}
    steps.create({f"code {name}": Creation(artifact) for name, artifact in names.items()})
    book = Consortium(client, steps.proxies({"consortium": "Consortium"}, client.address)[0])
    addresses = steps.proxies(PROXIES, book.address)
    contracts = {"consortium": book.address, **dict(zip(PROXIES, addresses, strict=True))}
    rules = [
        *(_booked(book, name, contracts[name]) for name in PROXIES),
        *_constitution(book, constitution),
        *(_allowed(book, digest, label) for digest, label in (algorithms or {}).items()),
        *(_admitted(book, scheme) for scheme in schemes),
        *(_minimum(book, name, value) for name, value in minimums.items()),
    ]
    steps.rules(rules)
    if authority is not None:
        steps.rules([(lambda: book.authority() == authority, book.move_authority(authority))])
    Network.open(client, book.address)
    return Deployment(
        chain_id=client.chain_id,
        consortium=book.address,
        contracts=contracts,
        blocks={name: steps.block_of_proxy(name) for name in contracts},
        gas=steps.gas,
    )


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

    def block_of_proxy(self, name: str) -> int:
        block = self._steps[f"proxy {name}"].block
        assert block is not None
        return block

    def create(self, creations: Mapping[str, Creation]) -> list[str]:
        """Addresses of the contracts made by these steps, in their order."""
        missing = {n: c for n, c in creations.items() if not self._stands(n)}
        self._send(missing)
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

    def rules(self, rules: Sequence[Rule]) -> None:
        """Sees to it that the chain says so. The chain decides, not the file."""
        named = {
            f"{call.function} {' '.join(map(str, call.args))}": (so, call) for so, call in rules
        }
        begun = {
            n: c for n, (_, c) in named.items() if n in self._steps and not self._steps[n].block
        }
        self._send(begun)
        missing = {name: call for name, (is_so, call) in named.items() if not is_so()}
        for name in missing:
            self._steps.pop(name, None)
        self._send(missing)

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


def _booked(book: Consortium, name: str, address: str) -> Rule:
    def is_so() -> bool:
        try:
            return book.contract_of(name) == address
        except ContractRefused as refusal:
            if refusal.error != "ConsortiumUnknownContract":
                raise
            return False

    return is_so, book.set_contract(name, address)


def _constitution(book: Consortium, digest: str) -> list[Rule]:
    if digest == ZERO_ID:
        return []
    return [(lambda: book.constitution() == digest, book.set_constitution(digest))]


def _allowed(book: Consortium, digest: str, label: str) -> Rule:
    return lambda: book.is_algorithm_allowed(digest), book.allow_algorithm(digest, label)


def _admitted(book: Consortium, scheme: str) -> Rule:
    return lambda: book.is_scheme_admitted(scheme), book.admit_scheme(scheme)


def _minimum(book: Consortium, name: str, value: int) -> Rule:
    return lambda: book.minimum(name) == value, book.set_minimum(name, value)


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
