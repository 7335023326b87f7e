"""A consortium on a chain of its own, as the contract tests meet it.

Three members (bank, shop, clinic), each with an account and a node of its own, a dataset at the
bank and one at the shop, and a grant of the shop to the bank. The rules are Shanghai's: code for a
later virtual machine does not run. Transactions are signed here, so that any engine takes them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple, cast

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from web3.contract import Contract
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import ContractLogicError, Web3RPCError
from web3.types import Nonce, TxParams, TxReceipt, Wei

from chain.canonical import word
from chain.compile import CONTRACTS, load
from chain.membership import sign_admission, sign_recovery
from chain.rpc import revert_data
from chain.testnet import dev_account
from tests.contracts.engines import Chain

Id = bytes
GAS = 8_000_000
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141  # of secp256k1
HALF_ORDER = ORDER // 2
DAY = 86_400
ACTORS = (
    "authority",
    "bank",
    "bank_node",
    "shop",
    "shop_node",
    "clinic",
    "clinic_node",
    "newcomer",
    "relayer",
    "stranger",
)
NAMES = {
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
GRANT_TYPES = {
    "Grant": [
        {"name": "datasetId", "type": "bytes32"},
        {"name": "fromVersion", "type": "uint32"},
        {"name": "toVersion", "type": "uint32"},
        {"name": "grantee", "type": "bytes32"},
        {"name": "purposes", "type": "bytes32[]"},
        {"name": "algorithms", "type": "bytes32[]"},
        {"name": "until", "type": "uint64"},
        {"name": "uses", "type": "uint32"},
        {"name": "minParties", "type": "uint8"},
        {"name": "minRows", "type": "uint64"},
        {"name": "productBudget", "type": "uint64"},
        {"name": "epsilonMicro", "type": "uint64"},
        {"name": "columnRules", "type": "bytes32"},
        {"name": "amends", "type": "bytes32"},
        {"name": "nonce", "type": "uint256"},
    ]
}
REVIEW_TYPES = {
    "Review": [
        {"name": "codeDigest", "type": "bytes32"},
        {"name": "person", "type": "address"},
        {"name": "approves", "type": "bool"},
        {"name": "report", "type": "bytes32"},
        {"name": "nonce", "type": "uint256"},
    ]
}
CHECKPOINT_TYPES = {
    "Checkpoint": [
        {"name": "logId", "type": "bytes32"},
        {"name": "size", "type": "uint64"},
        {"name": "root", "type": "bytes32"},
        {"name": "time", "type": "uint64"},
    ]
}
REVOCATION_TYPES = {"Revocation": [{"name": "grantId", "type": "bytes32"}]}


class Refusal(NamedTuple):
    """A custom error, and its values in the order of the interface."""

    error: str
    values: tuple[Any, ...]


def w(text: str) -> bytes:
    """A word as 32 bytes."""
    return bytes.fromhex(word(text)[2:])


def h(text: str) -> bytes:
    """Any digest, named by a text."""
    return bytes(keccak(text=text))


ALGORITHM = h("secureboost")
OTHER_ALGORITHM = h("logistic regression")
TRAINING = w("training")
PREDICTION = w("prediction")
EMERGENCY = w("emergency")
ALL_MEMBERS = w("all-members")
ZERO = bytes(32)


def compact(signature: bytes) -> tuple[bytes, bytes]:
    """EIP-2098: r, and s with v in its highest bit."""
    s = int.from_bytes(signature[32:64]) | (signature[64] - 27) << 255
    return signature[:32], s.to_bytes(32)


def _errors() -> dict[bytes, Mapping[str, Any]]:
    found: dict[bytes, Mapping[str, Any]] = {}
    for name in CONTRACTS:
        for entry in load(name).abi:
            if entry["type"] == "error":
                types = ",".join(p["type"] for p in entry["inputs"])
                found[bytes(keccak(text=f"{entry['name']}({types})"))[:4]] = entry
    return found


ERRORS = _errors()


class World:
    """The deployed contracts, who is who, and short ways to send and to be refused."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.web3 = chain.web3
        self.accounts: dict[str, LocalAccount] = {
            name: dev_account(index) for index, name in enumerate(ACTORS)
        }
        self.nonces = count(1000)
        self._nonces: dict[str, Iterator[int]] = {}
        self._chain_id = self.web3.eth.chain_id

        self.consortium = self.deploy("Consortium", self.address("authority"))
        for name, artifact in NAMES.items():
            made = self.deploy(artifact, self.consortium.address)
            setattr(self, name, made)
            self.send(self.consortium.functions.setContract(w(name), made.address), "authority")
        self._populate()

    membership: Contract
    sites: Contract
    datasets: Contract
    consents: Contract
    jobs: Contract
    models: Contract
    anchors: Contract
    reviews: Contract
    attestations: Contract
    disputes: Contract
    brake: Contract
    breakglass: Contract
    equivocations: Contract
    auditrequests: Contract

    # -------------------------------------------------------------------------- chain

    def address(self, actor: str) -> str:
        return str(self.accounts[actor].address)

    def deploy(self, artifact: str, argument: str) -> Contract:
        """The contract behind a proxy of its own."""
        made = self.create(load(artifact).abi, load(artifact).bytecode)
        data = made.encode_abi("initialize", args=[argument])
        proxy = self.create(
            load("ERC1967Proxy").abi, load("ERC1967Proxy").bytecode, made.address, data
        )
        return self.at(proxy.address, load(artifact).abi)

    def create(self, abi: Sequence[Any], bytecode: str, *args: Any) -> Contract:
        factory = self.web3.eth.contract(abi=abi, bytecode=bytecode)
        receipt = self.transact(factory.constructor(*args), "authority")
        assert receipt["status"] == 1
        assert receipt["contractAddress"] is not None
        return self.at(receipt["contractAddress"], abi)

    def at(self, address: str, abi: Sequence[Any]) -> Contract:
        found: Contract = self.web3.eth.contract(address=to_checksum_address(address), abi=abi)
        return found

    def add_account(self, actor: str) -> None:
        """A further actor, with ether."""
        self.accounts[actor] = Account.from_key(h(f"key of {actor}"))
        ether: TxParams = {"to": to_checksum_address(self.address(actor)), "value": Wei(10**18)}
        self._mined({**self._envelope("authority", 21_000), **ether}, "authority")

    def send(self, function: ContractFunction, actor: str, gas: int = GAS) -> TxReceipt:
        """Sends and expects success."""
        receipt = self.transact(function, actor, gas)
        if receipt["status"] != 1:
            raise AssertionError(f"{function.fn_name} by {actor}: {self.refusal(function, actor)}")
        return receipt

    def transact(
        self, call: ContractFunction | ContractConstructor, actor: str, gas: int = GAS
    ) -> TxReceipt:
        """Sends and takes it as it comes."""
        return self._mined(call.build_transaction(self._envelope(actor, gas)), actor)

    def _envelope(self, actor: str, gas: int) -> TxParams:
        """What every transaction of the actor says, but for what it does."""
        if actor not in self._nonces:
            address = to_checksum_address(self.address(actor))
            self._nonces[actor] = count(self.web3.eth.get_transaction_count(address))
        return {
            "chainId": self._chain_id,
            "gas": gas,
            "nonce": Nonce(next(self._nonces[actor])),
            "value": Wei(0),
            "maxFeePerGas": Wei(20 * 10**9),
            "maxPriorityFeePerGas": Wei(10**9),
        }

    def _mined(self, transaction: TxParams, actor: str) -> TxReceipt:
        signed = self.accounts[actor].sign_transaction(cast("dict[str, Any]", transaction))
        sent = self.web3.eth.send_raw_transaction(signed.raw_transaction)
        # Anvil answers before it has mined, at times.
        return self.web3.eth.wait_for_transaction_receipt(sent, poll_latency=0.002)

    def refusal(self, function: ContractFunction, actor: str = "stranger") -> Refusal | None:
        """Why the call is refused now; None when it is not."""
        try:
            function.call({"from": self.address(actor), "gas": GAS})
        except (ContractLogicError, Web3RPCError) as error:
            data = revert_data(error)
            if data is None:
                raise
            if not data:
                return Refusal("", ())
            entry = ERRORS[data[:4]]
            types = [p["type"] for p in entry["inputs"]]
            return Refusal(entry["name"], tuple(self.web3.codec.decode(types, data[4:])))
        return None

    def events(self, receipt: TxReceipt, contract: Contract) -> list[tuple[str, dict[str, Any]]]:
        """The contract's events in a receipt, in order."""
        topics = {
            bytes(keccak(text=f"{e['name']}({','.join(p['type'] for p in e['inputs'])})")): e[
                "name"
            ]
            for e in contract.abi
            if e["type"] == "event"
        }
        return [
            (name, dict(contract.events[name]().process_log(log)["args"]))
            for log in receipt["logs"]
            if log["address"] == contract.address
            and (name := topics.get(bytes(log["topics"][0]))) is not None
        ]

    @property
    def block(self) -> int:
        return int(self.web3.eth.block_number)

    @property
    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def go_to(self, timestamp: int) -> None:
        """Mines a block at this time: what follows happens later."""
        self.chain.travel(timestamp - self.now)

    def mine(self, blocks: int = 1) -> None:
        """Blocks with nothing in them."""
        self.chain.mine(blocks)

    @contextmanager
    def anchored(self) -> Iterator["World"]:
        """What happens inside did not happen after."""
        snapshot = self.chain.snapshot()
        try:
            yield self
        finally:
            self.chain.revert(snapshot)
            self._nonces.clear()

    # -------------------------------------------------------------------------- signing

    def domain(self, **changed: Any) -> dict[str, Any]:
        return {
            "name": "FATE-Chain Consent",
            "version": "1",
            "chainId": self.web3.eth.chain_id,
            "verifyingContract": self.consents.address,
            **changed,
        }

    def sign(self, terms: Mapping[str, Any], actor: str, **changed: Any) -> bytes:
        """The owner's EIP-712 signature; `changed` alters the domain."""
        signed = self.accounts[actor].sign_typed_data(
            self.domain(**changed), GRANT_TYPES, dict(terms)
        )
        return bytes(signed.signature)

    def sign_revocation(self, grant: Id, actor: str) -> bytes:
        message = {"grantId": grant}
        signed = self.accounts[actor].sign_typed_data(self.domain(), REVOCATION_TYPES, message)
        return bytes(signed.signature)

    def review(
        self,
        code: bytes,
        person: str,
        approves: bool = True,
        *,
        signer: str | None = None,
        signed: Mapping[str, Any] | None = None,
        domain: Mapping[str, Any] | None = None,
    ) -> ContractFunction:
        """The call that relays the person's next review; `signed`, `domain` alter the signature."""
        address, functions = self.address(person), self.reviews.functions
        message = {
            "codeDigest": code,
            "person": address,
            "approves": approves,
            "report": h("report"),
            "nonce": functions.nonces(address).call(),
            **(signed or {}),
        }
        own = {"name": "FATE-Chain Reviews", "verifyingContract": self.reviews.address}
        signature = self.accounts[signer or person].sign_typed_data(
            self.domain(**{**own, **(domain or {})}), REVIEW_TYPES, message
        )
        given = (code, address, approves, h("report"))
        return functions.review(given, bytes(signature.signature))

    def add_anchor_key(self, site: Id, operator: str, name: str) -> Id:
        """An account of this name signs the site's checkpoints from here on; returns the key's id.

        `name` needs no ether: what it signs is sent by others.
        """
        account = self.accounts[name] = Account.from_key(h(f"key of {name}"))
        public = bytes.fromhex(account.address[2:])
        digest = self.sites.functions.keyProofDigest(site, w("anchor"), public).call()
        proof = bytes(account.unsafe_sign_hash(digest).signature)
        self.send(self.sites.functions.addKey(site, w("anchor"), public, proof), operator)
        return bytes(self.sites.functions.anchorKey(account.address).call()[1])

    def sign_head(
        self,
        signer: str,
        site: Id,
        size: int,
        root: bytes,
        time: int | None = None,
        **changed: Any,
    ) -> tuple[int, bytes, bytes]:
        """A Cosignature, dated now unless told; `changed` alters the domain."""
        dated = self.now if time is None else time
        own = {"name": "FATE-Chain Checkpoint", "verifyingContract": self.anchors.address}
        message = {"logId": site, "size": size, "root": root, "time": dated}
        signed = self.accounts[signer].sign_typed_data(
            self.domain(**{**own, **changed}), CHECKPOINT_TYPES, message
        )
        return (dated, *compact(bytes(signed.signature)))

    # -------------------------------------------------------------------------- making

    def appoint(self, member: str, person: str) -> None:
        """The member names a person, who has an account from here on."""
        self.accounts[person] = Account.from_key(h(f"key of {person}"))
        self.send(self.reviews.functions.appoint(self.address(person)), member)

    def reviewed(
        self, code: bytes, author: str | None = None, reviewers: Sequence[str] = ()
    ) -> None:
        """Submitted by the author; a person of each reviewer approves."""
        if author is not None:
            self.send(self.reviews.functions.submit(code, "code"), author)
        for member in reviewers:
            person = f"{member} reader"
            self.appoint(member, person)
            self.send(self.review(code, person), "relayer")

    def admission(self, actor: str, name: str, nonce: int) -> ContractFunction:
        """The call that admits the actor, with its acceptance."""
        account, membership = self.accounts[actor], self.membership
        signed = sign_admission(account, name, nonce, self._chain_id, membership.address)
        return membership.functions.admit(
            account.address, name, nonce, bytes.fromhex(signed.removeprefix("0x"))
        )

    def recovery(self, member: Id, actor: str) -> ContractFunction:
        """The call that makes the actor's account the member's, with its acceptance."""
        signature = self.recovery_signature(member, actor)
        return self.membership.functions.recover(member, self.address(actor), signature)

    def recovery_signature(self, member: Id, actor: str) -> bytes:
        account, id, membership = self.accounts[actor], "0x" + member.hex(), self.membership
        signed = sign_recovery(account, id, self._chain_id, membership.address)
        return bytes.fromhex(signed.removeprefix("0x"))

    def admit(self, actor: str, name: str) -> Id:
        nonce = next(self.nonces)
        self.send(self.admission(actor, name, nonce), "authority")
        return bytes(self.membership.functions.memberIdFor(self.address(actor), nonce).call())

    def admit_contract(self, wallet: Contract, name: str) -> Id:
        """A member whose account is a contract that says what it signed (ERC-1271)."""
        nonce = next(self.nonces)
        functions = self.membership.functions
        digest = functions.admissionDigest(wallet.address, name, nonce).call()
        self.send(wallet.functions.approve(digest), "relayer")
        self.send(functions.admit(wallet.address, name, nonce, b""), "authority")
        return bytes(functions.memberIdFor(wallet.address, nonce).call())

    def register_site(self, actor: str, operator: str, *purposes: str) -> Id:
        nonce = next(self.nonces)
        keys = [
            (w(purpose), h(f"{operator} {purpose}"), h(f"proof of {operator}") * 2)
            for purpose in purposes
        ]
        site = bytes(self.sites.functions.siteIdFor(self.address(actor), nonce).call())
        self.send(self.sites.functions.agree(site), operator)
        self.send(
            self.sites.functions.register(
                self.address(operator), operator, f"https://{actor}.example", 3, keys, nonce
            ),
            actor,
        )
        return site

    def register_dataset(self, site: Id, operator: str, name: str) -> Id:
        nonce = next(self.nonces)
        commitment = (h(f"{name} schema"), h(f"{name} rows"), 3000, 10)
        self.send(self.datasets.functions.register(site, name, *commitment, nonce), operator)
        return bytes(self.datasets.functions.datasetIdFor(self.address(operator), nonce).call())

    def terms(self, **changed: Any) -> dict[str, Any]:
        """The shop lets the bank train on its dataset, for 90 days, five times."""
        return {
            "datasetId": self.shop_data,
            "fromVersion": 1,
            "toVersion": 2,
            "grantee": self.bank,
            "purposes": [TRAINING],
            "algorithms": [ALGORITHM],
            "until": self.now + 90 * DAY,
            "uses": 5,
            "minParties": 2,
            "minRows": 50,
            "productBudget": 300,
            "epsilonMicro": 0,
            "columnRules": ZERO,
            "amends": ZERO,
            "nonce": next(self.nonces),
            **changed,
        }

    def grant(self, owner: str = "shop", **changed: Any) -> Id:
        terms = self.terms(**changed)
        self.send(self.consents.functions.grant(terms, self.sign(terms, owner)), "relayer")
        return bytes(self.consents.functions.grantIdFor(self.address(owner), terms["nonce"]).call())

    def proposal(self, **changed: Any) -> dict[str, Any]:
        """The bank, as the guest, with its own data and the shop's."""
        return {
            "specification": h("specification"),
            "algorithm": ALGORITHM,
            "purpose": TRAINING,
            "deadline": self.now + DAY,
            "parties": [(self.bank_site, w("guest")), (self.shop_site, w("host"))],
            "uses": [(0, self.bank_data, 1, ZERO), (1, self.shop_data, 1, self.shop_grant)],
            "nonce": next(self.nonces),
            **changed,
        }

    def propose(self, actor: str = "bank_node", **changed: Any) -> Id:
        proposal = self.proposal(**changed)
        self.send(self.jobs.functions.propose(proposal), actor)
        return bytes(self.jobs.functions.jobIdFor(self.address(actor), proposal["nonce"]).call())

    def approved(self, **changed: Any) -> Id:
        job = self.propose(**changed)
        self.approve(job, self.shop_site, "shop_node")
        return job

    def approve(self, job: Id, site: Id, actor: str) -> TxReceipt:
        """The site's word on what was proposed."""
        return self.send(self.jobs.functions.approve(job, site, h("specification")), actor)

    def running(self, **changed: Any) -> Id:
        job = self.approved(**changed)
        self.send(self.jobs.functions.start(job), "bank_node")
        return job

    def succeeded(self, **changed: Any) -> Id:
        job = self.running(**changed)
        for site, operator in ((self.bank_site, "bank_node"), (self.shop_site, "shop_node")):
            self.send(self.jobs.functions.attest(job, site, h("result")), operator)
        return job

    def registered_model(self) -> Id:
        nonce = next(self.nonces)
        made = self.models.functions.register(
            self.succeeded(), self.bank_site, h("model"), [], nonce
        )
        self.send(made, "bank_node")
        return bytes(self.models.functions.modelIdFor(self.address("bank_node"), nonce).call())

    def _populate(self) -> None:
        self.send(self.consortium.functions.allowAlgorithm(ALGORITHM, "secureboost"), "authority")
        for purpose in (TRAINING, PREDICTION, EMERGENCY):
            self.send(self.consortium.functions.allowPurpose(purpose), "authority")
        self.bank = self.admit("bank", "Bank")
        self.shop = self.admit("shop", "Shop")
        self.clinic = self.admit("clinic", "Clinic")
        self.bank_site = self.register_site("bank", "bank_node", "request", "audit")
        self.shop_site = self.register_site("shop", "shop_node", "request", "audit")
        self.clinic_site = self.register_site("clinic", "clinic_node", "request", "audit")
        self.bank_data = self.register_dataset(self.bank_site, "bank_node", "credit")
        self.shop_data = self.register_dataset(self.shop_site, "shop_node", "purchases")
        self.shop_grant = self.grant()
