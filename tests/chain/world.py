"""A consortium of a bank (guest) and a shop (host), on any chain that clients reach.

`found` deploys and registers everybody, `run_job` takes one job through its whole life, with both
parties' audit logs anchored, and leaves what a certificate of it is made of.
``python -m tests.chain.world`` writes the vector of all verifiers.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from chain import canonical, merkle, typed_data
from chain.anchors import Cosignature, checkpoint_document
from chain.calls import Call, Receipt
from chain.certificate import (
    Signer,
    job_section,
    model_digest,
    model_section,
    network_section,
    parties_section,
    result_digest,
    seal,
)
from chain.client import ChainClient
from chain.consents import GrantTerms, grant_id
from chain.datasets import dataset_id
from chain.deploy import Deployment, deploy
from chain.entries import commit, disclose
from chain.jobs import JobParty, JobProposal, JobUse, job_id
from chain.membership import member_id, sign_admission
from chain.models import model_id
from chain.network import Network
from chain.reconciliation import (
    Declaration,
    declared_at_start,
    declared_in,
    keys_on_chain,
    receipt_body,
)
from chain.reconciliation import result as declared_result
from chain.reconciliation import section as reconciliation_section
from chain.sites import (
    AUDIT,
    REQUEST,
    KeyInput,
    SiteRole,
    anchor_key_input,
    key_id,
    key_proof_digest,
    site_id,
)
from chain.state import prove
from chain.testnet import dev_account

CODE = canonical.digest(b"secureboost, as it was reviewed")
DAY = 86_400
Connect = Callable[[LocalAccount], ChainClient]


def newcomer(number: int) -> LocalAccount:
    """An account that is nobody's yet."""
    account: LocalAccount = Account.from_key(keccak(text=f"newcomer {number}"))
    return account


def admission(network: Network, account: LocalAccount, name: str, nonce: int) -> Call:
    """The call that admits an account, with its acceptance."""
    chain, membership = network.client.chain_id, network.membership
    acceptance = sign_admission(account, name, nonce, chain, membership.address)
    return membership.admit(account.address, name, nonce, acceptance)


@dataclass
class Party:
    """A member with one site; `entries` is its audit log, `told` what they commit to."""

    name: str
    role: str
    account: LocalAccount
    operator: LocalAccount
    member: str = ""
    site: str = ""
    dataset: str = ""
    grant: str | None = None
    entries: list[dict[str, Any]] = field(default_factory=list)
    told: list[dict[str, list[Any]]] = field(default_factory=list)
    anchored: tuple[int, Receipt] | None = None

    @property
    def signing(self) -> Ed25519PrivateKey:
        """Fixed, so that a run is the same every time."""
        return Ed25519PrivateKey.from_private_bytes(self.name.encode().ljust(32, b"."))

    @property
    def public_key(self) -> str:
        return "0x" + self.signing.public_key().public_bytes_raw().hex()

    @property
    def anchor(self) -> LocalAccount:
        """Fixed as well."""
        account: LocalAccount = Account.from_key(sha256(self.name.encode()).digest())
        return account

    def key(self, network: Network, purpose: str) -> KeyInput:
        """The key, and its proof that it is the site's."""
        chain, at = network.client.chain_id, network.sites.address
        digest = key_proof_digest(chain, at, self.site, purpose, self.public_key)
        proof = self.signing.sign(bytes.fromhex(digest[2:]))
        return KeyInput(purpose, self.public_key, "0x" + proof.hex())

    def tell(self, kind: str, subject: str, /, **data: Any) -> None:
        """An entry of the site's log about the job."""
        number = len(self.entries)
        salt = sha256(f"{self.name} {number}".encode()).digest()
        self.told.append(disclose(salt, data))
        contents = {name: canonical.dumps(value) for name, value in data.items()}
        self.entries.append(
            {
                "specversion": "1.0",
                "id": f"{self.name}-{number}",
                "source": self.site,
                "type": f"fatechain.{kind}.v1",
                "time": f"2027-01-15T08:00:{number:02d}Z",
                "subject": subject,
                "actor": "worker",
                "dataschema": f"urn:fatechain:event:{kind}:1",
                "data": commit(salt, contents),
            }
        )

    @property
    def tree(self) -> merkle.Tree:
        return merkle.Tree(merkle.leaf_hash(canonical.dumps(entry)) for entry in self.entries)


class World:
    """Who is who, and short ways to send."""

    def __init__(self, connect: Connect) -> None:
        self.connect = connect
        self.authority = dev_account(0)
        self.bank = Party("bank", "guest", dev_account(1), dev_account(2))
        self.shop = Party("shop", "host", dev_account(3), dev_account(4))
        self.job = ""
        self.model = ""
        self.specification: dict[str, Any] = {}
        self.result: dict[str, Any] = {}
        self._clients: dict[str, ChainClient] = {}
        self.deployment: Deployment
        self.network: Network

    @property
    def parties(self) -> tuple[Party, Party]:
        return self.bank, self.shop

    def afresh(self) -> "World":
        """The same world before any job, with clients that remember nothing of a rewound chain."""
        other = World(self.connect)
        other.bank, other.shop = (
            replace(party, entries=list(party.entries), told=list(party.told))
            for party in self.parties
        )
        other.deployment = self.deployment
        other.network = Network.open(other.client(self.authority), self.deployment.consortium)
        return other

    def client(self, account: LocalAccount) -> ChainClient:
        if account.address not in self._clients:
            self._clients[account.address] = self.connect(account)
        return self._clients[account.address]

    def send(self, account: LocalAccount, call: Call) -> Receipt:
        client = self.client(account)
        if hasattr(self, "network"):
            client.learn(self.network.contracts)
        return client.transact(call)

    # ── before the job

    def found(self, **options: Any) -> "World":
        """Deploys; both are members with a site and a dataset, and the shop gave a grant."""
        self.deployment = deploy(
            self.client(self.authority), None, algorithms={CODE: "secureboost"}, **options
        )
        self.network = Network.open(self.client(self.authority), self.deployment.consortium)
        for party in self.parties:
            self._register(party)
        self.shop.grant = self.give(self.terms())
        return self

    def _register(self, party: Party) -> None:
        net, chain = self.network, self.network.client.chain_id
        self.send(self.authority, admission(net, party.account, party.name, 1))
        party.member = member_id(chain, net.membership.address, party.account.address, 1)
        role = SiteRole.DATA_OWNER | SiteRole.MODEL_USER
        endpoint = f"http://{party.name}.example"
        party.site = site_id(chain, net.sites.address, party.account.address, 2)
        keys = [party.key(net, purpose) for purpose in (REQUEST, AUDIT)]
        keys.append(anchor_key_input(party.anchor, chain, net.sites.address, party.site))
        self.send(party.operator, net.sites.agree(party.site))
        register = net.sites.register(party.operator.address, party.name, endpoint, role, keys, 2)
        self.send(party.account, register)
        schema, rows = (canonical.digest(f"{party.name} {what}".encode()) for what in ("s", "r"))
        data = net.datasets.register(party.site, f"{party.name} data", schema, rows, 900, 9, 3)
        self.send(party.operator, data)
        party.dataset = dataset_id(chain, net.datasets.address, party.operator.address, 3)

    def terms(self, **changes: Any) -> GrantTerms:
        """The shop allows the bank three trainings on version 1."""
        usual: dict[str, Any] = {
            "dataset_id": self.shop.dataset,
            "from_version": 1,
            "to_version": 1,
            "grantee": self.bank.member,
            "purposes": ("training",),
            "algorithms": (CODE,),
            "until": self.now() + 30 * DAY,
            "uses": 3,
            "nonce": 4,
            "min_rows": 50,
            "product_budget": 2**64 - 1,
        }
        return GrantTerms(**{**usual, **changes})

    def give(self, terms: GrantTerms) -> str:
        """Signed by the shop's account, relayed by the bank's node."""
        signature = self.network.consents.sign(terms, self.shop.account)
        self.send(self.bank.operator, self.network.consents.grant(terms, signature))
        consents, owner = self.network.consents.address, self.shop.account.address
        return grant_id(self.network.client.chain_id, consents, owner, terms.nonce)

    def now(self) -> int:
        return self.network.client.head().timestamp

    # ── the job

    def proposal(self, nonce: int = 5, **changes: Any) -> JobProposal:
        """What the bank proposes; the specification is kept in `self.specification`."""
        deadline = self.now() + DAY
        self.specification = {
            "version": 1,
            "kind": "train",
            "algorithm": "secureboost",
            "codeDigest": CODE,
            "purpose": "training",
            "deadline": deadline,
            "params": {"learningRate": "0.5"},
            "parties": [
                {
                    "site": party.site,
                    "role": party.role,
                    "inputs": [{"dataset": party.dataset, "version": 1, "grant": party.grant}],
                }
                for party in self.parties
            ],
        }
        usual: dict[str, Any] = {
            "specification": canonical.digest_of(self.specification),
            "algorithm": CODE,
            "purpose": "training",
            "deadline": deadline,
            "parties": tuple(JobParty(party.site, party.role) for party in self.parties),
            "uses": tuple(
                JobUse(number, party.dataset, 1, party.grant)
                for number, party in enumerate(self.parties)
            ),
            "nonce": nonce,
        }
        return JobProposal(**{**usual, **changes})

    def propose(self, nonce: int = 5, **changes: Any) -> str:
        net = self.network
        self.send(self.bank.operator, net.jobs.propose(self.proposal(nonce, **changes)))
        return job_id(net.client.chain_id, net.jobs.address, self.bank.operator.address, nonce)

    def start(self, nonce: int = 5) -> str:
        """A job that runs."""
        job = self.propose(nonce)
        read = self.network.jobs.job(job).specification
        self.send(self.shop.operator, self.network.jobs.approve(job, self.shop.site, read))
        self.send(self.bank.operator, self.network.jobs.start(job))
        return job

    def run_job(self) -> "World":
        """From the proposal to the anchored logs of the job `self.job`."""
        self.job = self.start()
        self.converse()
        self.declare("psi", declared_at_start(self.network, self.job))
        parts = [
            {"site": site, "digest": canonical.digest(f"part of {site}".encode())}
            for site in sorted(party.site for party in self.parties)
        ]
        stated = {"attempt": 1, "parts": parts, "metrics": {"joint": {"auc": 0.775}}}
        self.result = {"digest": result_digest(self.job, stated), **stated}
        digest = self.result["digest"]
        results = [declared_result(self.job, party.site, 1, digest) for party in self.parties]
        self.declare("result", results)
        for party in self.parties:
            attest = self.network.jobs.attest(self.job, party.site, self.result["digest"])
            self.send(party.operator, attest)
            party.tell("result.attested", self.job, result=self.result["digest"], attempt=1)
        self._register_model()
        for party in self.parties:
            self.anchor(party)
        return self

    def converse(self) -> None:
        """Two steps in which each says something to the other, and both logs tell of it."""
        for step in ("psi", "train"):
            for sender, receiver in (self.parties, self.parties[::-1]):
                digest = canonical.digest(f"{step} of {sender.name}".encode())
                self.say(sender, receiver, step, "psi.Blinded", 0, digest, 1000)
            for party in self.parties:
                output = canonical.digest(f"{step} at {party.name}".encode())
                party.tell("task.finished", self.job, step=step, attempt=1, output=output)

    def declare(self, step: str, declared: list[Declaration]) -> None:
        """Each tells the other what it did."""
        for said in declared:
            for sender, receiver in (self.parties, self.parties[::-1]):
                if sender.site == said.site:
                    what = (said.kind, said.n, said.digest, len(said.content), dict(said.body))
                    self.say(sender, receiver, step, *what)

    def say(
        self,
        sender: Party,
        receiver: Party,
        step: str,
        kind: str,
        n: int,
        digest: str,
        size: int,
        declared: dict[str, Any] | None = None,
    ) -> None:
        """A message that both logs tell of, with the receiver's receipt."""
        ends = {"sender": sender.site, "receiver": receiver.site}
        address = {"job": self.job, "step": step, "attempt": 1, **ends, "n": n}
        when = f"2027-01-15T08:00:{len(receiver.entries):02d}Z"
        key_id = self.request_key(receiver)
        body = receipt_body({**address, "kind": kind}, digest, size, when, key_id)
        signature = base64.b64encode(receiver.signing.sign(canonical.dumps(body))).decode()
        told: dict[str, Any] = {**address, "messageKind": kind, "digest": digest, "size": size}
        if declared is not None:
            told["declared"] = declared
        receipt = {"receivedAt": when, "keyId": key_id, "signature": signature}
        sender.tell("message.sent", self.job, **told, receipt=receipt)
        receiver.tell("message.received", self.job, **told, signatureDigest="0x00")

    def _register_model(self) -> None:
        self.model = self.register(model_digest(self.job, self.result["parts"]), 6)

    def register(self, digest: str, nonce: int) -> str:
        """A model of the job under any digest."""
        models, bank = self.network.models, self.bank
        self.send(bank.operator, models.register(self.job, bank.site, digest, [], nonce))
        chain = self.network.client.chain_id
        return model_id(chain, models.address, bank.operator.address, nonce)

    def anchor(self, party: Party) -> None:
        """Anchors the whole log of the party."""
        tree, newest = party.tree, self.network.anchors.head(party.site)
        proof = tree.consistency_proof(newest.size) if newest.size else []
        [witness] = [other for other in self.parties if other is not party]
        call = self.network.anchors.anchor(
            party.site,
            tree.size,
            _hex(tree.root()),
            [_hex(sibling) for sibling in proof],
            [self.cosignature(witness, party)],
        )
        party.anchored = (tree.size, self.send(party.operator, call))

    def cosignature(self, witness: Party, party: Party) -> Cosignature:
        """What a party's anchor key says of the present head of another's log."""
        net, time, tree = self.network, self.now(), party.tree
        chain, at = net.client.chain_id, net.anchors.address
        root = _hex(tree.root())
        document = checkpoint_document(chain, at, party.site, tree.size, root, time)
        return Cosignature(time, typed_data.sign(document, witness.anchor))

    # ── the certificate

    def body(self) -> dict[str, Any]:
        """What the bank's node states, before it is sealed."""
        logs = [self._log(party) for party in self.parties]
        body: dict[str, Any] = {
            "version": 3,
            "network": network_section(self.network),
            "job": job_section(self.network, self.job),
            "specification": self.specification,
            "parties": parties_section(self.network, self.job),
            "result": self.result,
            "model": model_section(self.network, self.model),
            "steps": [
                {
                    "step": step,
                    "attempt": 1,
                    "started": "2027-01-15T08:00:00Z",
                    "finished": "2027-01-15T08:00:09Z",
                    "outputs": {
                        party.site: canonical.digest(f"{step} at {party.name}".encode())
                        for party in self.parties
                    },
                }
                for step in ("psi", "train")
            ],
            "logs": logs,
            "state": None,
            "issued": {
                "by": self.bank.site,
                "at": "2027-01-15T08:01:00Z",
                "keyId": self.request_key(self.bank),
            },
        }
        declared = declared_in(body)
        keys = keys_on_chain(self.network, self.job, logs)
        return {
            **body,
            "reconciliation": reconciliation_section(self.job, logs, declared, keys, 1),
        }

    def proved(self) -> dict[str, Any]:
        """The same with the proof of what the contracts hold now."""
        body = self.body()
        return body | {"state": prove(self.network, body, self.network.client.head().number)}

    def _log(self, party: Party) -> dict[str, Any]:
        assert party.anchored is not None
        size, receipt = party.anchored
        tree = party.tree
        return {
            "site": party.site,
            "anchored": {
                "size": size,
                "root": _hex(tree.root(size)),
                "block": receipt.block_number,
                "txHash": receipt.tx_hash,
                "cosigners": sorted(self.network.anchors.witness_of(party.site, size).members),
                "of": self.network.anchors.cosigners_needed(),
            },
            "entries": [
                {
                    "index": index,
                    "leafHash": _hex(merkle.leaf_hash(canonical.dumps(entry))),
                    "entry": entry,
                    "disclosed": party.told[index],
                    "proof": [_hex(sibling) for sibling in tree.inclusion_proof(index, size)],
                }
                for index, entry in enumerate(party.entries[:size])
            ],
        }

    def signer(self, party: Party) -> Signer:
        return Signer(party.site, self.request_key(party), party.signing.sign)

    def request_key(self, party: Party) -> str:
        sites = self.network.sites
        chain = self.network.client.chain_id
        return key_id(chain, sites.address, party.site, REQUEST, party.public_key)

    def certificate(self, body: dict[str, Any] | None = None, *signers: Party) -> bytes:
        """Sealed by the bank unless others are named."""
        signing = [self.signer(party) for party in signers or (self.bank,)]
        return seal(self.body() if body is None else body, signing)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


if __name__ == "__main__":
    from chain.testing import InProcessChain

    VECTOR = Path(__file__).parent.parent / "vectors" / "certificate.json"
    world = World(InProcessChain().client).found().run_job()
    VECTOR.write_bytes(world.certificate(world.proved()))
