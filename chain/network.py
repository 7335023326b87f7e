"""A consortium on a chain: its address book, and one typed client per contract."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from chain.anchors import Anchors
from chain.attestations import Attestations
from chain.audit_requests import AuditRequests
from chain.brake import Brake
from chain.breakglass import BreakGlass
from chain.calls import Block, Call
from chain.consents import Consents
from chain.consortium import Consortium
from chain.contract import Contract
from chain.datasets import Datasets
from chain.disputes import Disputes
from chain.equivocations import Equivocations
from chain.errors import ContractRefused, DeploymentMismatch, NotDeployed
from chain.governor import Governor
from chain.jobs import Jobs
from chain.membership import Membership
from chain.models import Models
from chain.reviews import Reviews
from chain.sites import Sites
from chain.timelock import Timelock

if TYPE_CHECKING:
    from chain.client import ChainClient


@dataclass(frozen=True)
class NetworkFile:
    """network.json: all that a node must know of a consortium.

    `from_block`: nothing happened before.
    """

    chain_id: int
    consortium: str
    from_block: int

    def to_json(self) -> str:
        names = {"chain_id": "chainId", "consortium": "consortium", "from_block": "fromBlock"}
        return json.dumps({names[k]: v for k, v in asdict(self).items()}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "NetworkFile":
        """Raises ValueError when a field is missing or of another type."""
        value = json.loads(text)
        try:
            chain_id, consortium = value["chainId"], value["consortium"]
            from_block = value["fromBlock"]
        except (KeyError, TypeError) as error:
            raise ValueError("network.json needs chainId, consortium and fromBlock") from error
        if not (isinstance(chain_id, int) and isinstance(from_block, int)):
            raise ValueError("network.json: chainId and fromBlock are whole numbers")
        if not isinstance(consortium, str):
            raise ValueError("network.json: consortium is an address")
        return cls(chain_id, consortium, from_block)


@dataclass(frozen=True)
class Network:
    """Typed clients for all contracts of the consortium at `consortium.address`.

    The fields after `consortium` carry the names under which its address book holds them.
    """

    client: "ChainClient"
    consortium: Consortium
    membership: Membership
    sites: Sites
    datasets: Datasets
    consents: Consents
    jobs: Jobs
    models: Models
    anchors: Anchors
    governor: Governor
    timelock: Timelock
    reviews: Reviews
    attestations: Attestations
    disputes: Disputes
    brake: Brake
    breakglass: BreakGlass
    equivocations: Equivocations
    auditrequests: AuditRequests

    @classmethod
    def open(cls, client: "ChainClient", consortium_address: str) -> "Network":
        """Reads the address book once, and sees whether its contracts belong together.

        Raises NotDeployed, DeploymentMismatch, WrongChain, ChainUnavailable.
        """
        if not client.has_code(consortium_address):
            raise NotDeployed("Consortium", consortium_address)
        book = Consortium(client, consortium_address)
        asked = [Call(book.artifact, "findContract", (name,), book.address) for name in CLIENTS]
        try:
            addresses = client.call_all(asked)
        except ContractRefused as refusal:
            raise NotDeployed("Consortium", consortium_address) from refusal
        found: dict[str, Any] = {}
        for (name, contract), address in zip(CLIENTS.items(), addresses, strict=True):
            if int(address, 16) == 0:
                raise NotDeployed(name, consortium_address)
            found[name] = contract(client, address)
        network = cls(client, book, **found)
        network._refuse_strangers()
        client.learn(network.contracts)
        return network

    def _refuse_strangers(self) -> None:
        """A registry that answers to another consortium would look up others than we do."""
        expected = [
            *((self._named(name), "consortium", self.consortium.address) for name in _GOVERNED),
            (self.governor, "timelock", self.timelock.address),
            (self.governor, "token", self.membership.address),
        ]
        asked = [Call(at.artifact, function, (), at.address) for at, function, _ in expected]
        try:
            answers = self.client.call_all(asked)
        except ContractRefused as refusal:
            raise NotDeployed(refusal.contract, self.consortium.address) from refusal
        for (at, function, address), answer in zip(expected, answers, strict=True):
            if answer != address:
                raise DeploymentMismatch(f"{at.artifact}.{function}", answer, address)

    def at(self, block: Block) -> "Network":
        """The same contracts, all read at `block`."""
        clients: dict[str, Any] = {name: self._named(name).at(block) for name in _NAMES}
        return replace(self, **clients)

    def on(self, client: "ChainClient") -> "Network":
        """The same contracts, asked through another client: on a fork, say."""
        clients: dict[str, Any] = {
            name: type(contract)(client, contract.address)
            for name in _NAMES
            for contract in [self._named(name)]
        }
        return replace(self, client=client, **clients)

    @property
    def contracts(self) -> dict[str, str]:
        """Address → artifact name of every contract: what an indexer follows."""
        clients = (self._named(name) for name in _NAMES)
        return {client.address: client.artifact for client in clients}

    def _named(self, name: str) -> Contract:
        found = getattr(self, name)
        assert isinstance(found, Contract)
        return found


CLIENTS: Mapping[str, type[Contract]] = {
    "membership": Membership,
    "sites": Sites,
    "datasets": Datasets,
    "consents": Consents,
    "jobs": Jobs,
    "models": Models,
    "anchors": Anchors,
    "governor": Governor,
    "timelock": Timelock,
    "reviews": Reviews,
    "attestations": Attestations,
    "disputes": Disputes,
    "brake": Brake,
    "breakglass": BreakGlass,
    "equivocations": Equivocations,
    "auditrequests": AuditRequests,
}
"""Name in the address book → its client."""

_NAMES = ("consortium", *CLIENTS)
_GOVERNED = tuple(name for name in CLIENTS if name not in ("governor", "timelock"))
