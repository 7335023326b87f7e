"""A consortium on a chain: its address book, and one typed client per contract."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from chain.anchors import Anchors
from chain.calls import Block
from chain.consents import Consents
from chain.consortium import Consortium
from chain.datasets import Datasets
from chain.errors import ContractRefused, NotDeployed
from chain.jobs import Jobs
from chain.membership import Membership
from chain.models import Models
from chain.sites import Sites

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
    """Typed clients for all contracts of the consortium at `consortium.address`."""

    client: "ChainClient"
    consortium: Consortium
    membership: Membership
    sites: Sites
    datasets: Datasets
    consents: Consents
    jobs: Jobs
    models: Models
    anchors: Anchors

    @classmethod
    def open(cls, client: "ChainClient", consortium_address: str) -> "Network":
        """Reads the address book once. Raises NotDeployed, WrongChain, ChainUnavailable."""
        if not client.has_code(consortium_address):
            raise NotDeployed("Consortium", consortium_address)
        book = Consortium(client, consortium_address)

        def at(name: str) -> str:
            try:
                return book.contract_of(name)
            except ContractRefused as refusal:
                raise NotDeployed(name, consortium_address) from refusal

        network = cls(
            client=client,
            consortium=book,
            membership=Membership(client, at("membership")),
            sites=Sites(client, at("sites")),
            datasets=Datasets(client, at("datasets")),
            consents=Consents(client, at("consents")),
            jobs=Jobs(client, at("jobs")),
            models=Models(client, at("models")),
            anchors=Anchors(client, at("anchors")),
        )
        client.learn(network.contracts)
        return network

    def at(self, block: Block) -> "Network":
        """The same contracts, all read at `block`."""
        return Network(
            client=self.client,
            consortium=self.consortium.at(block),
            membership=self.membership.at(block),
            sites=self.sites.at(block),
            datasets=self.datasets.at(block),
            consents=self.consents.at(block),
            jobs=self.jobs.at(block),
            models=self.models.at(block),
            anchors=self.anchors.at(block),
        )

    @property
    def contracts(self) -> dict[str, str]:
        """Address → artifact name of every contract: what an indexer follows."""
        clients = (
            self.consortium,
            self.membership,
            self.sites,
            self.datasets,
            self.consents,
            self.jobs,
            self.models,
            self.anchors,
        )
        return {client.address: client.artifact for client in clients}
