"""For every kind of proposal something that the institutions could decide, made ready."""

from collections.abc import Callable, Mapping

from eth_utils.crypto import keccak

from chain import abi, canonical
from chain.calls import Creation
from chain.disputes import dispute_id
from chain.membership import sign_admission, sign_recovery
from chain.proposals import Draft
from chain.testnet import dev_account
from tests.chain.parliament import FOUNDERS, STRANGER, Parliament, a_draft
from tests.chain.world import CODE

NEWCOMER = dev_account(6)
PEOPLE = (dev_account(7), dev_account(8))
DOCTORS = (dev_account(10), dev_account(11))
NEW_CODE = canonical.digest(b"another algorithm")
TEXT = canonical.digest(b"a text that the members have elsewhere")


def _admit(p: Parliament) -> Draft:
    chain, membership = p.network.client.chain_id, p.network.membership.address
    accepted = sign_admission(NEWCOMER, "the newcomer", 2**130, chain, membership)
    return a_draft(
        "admit",
        account=str(NEWCOMER.address),
        name="the newcomer",
        nonce=2**130,
        acceptance=accepted,
    )


def _reinstate(p: Parliament) -> Draft:
    p.carry(a_draft("suspend", member=p.member("clinic")))
    return a_draft("reinstate", member=p.member("clinic"))


def reviewed(p: Parliament) -> Draft:
    """The bank's code, which a person of the shop and one of the clinic have read."""
    reviews = p.network.reviews
    p.send(FOUNDERS["bank"], reviews.submit(NEW_CODE, "better boosting"))
    for person, member in zip(PEOPLE, ("shop", "clinic"), strict=True):
        address = str(person.address)
        p.send(FOUNDERS[member], reviews.appoint(address))
        signature = reviews.sign_review(person, NEW_CODE, True, TEXT)
        p.send(STRANGER, reviews.review(NEW_CODE, address, True, TEXT, signature))
    return a_draft("allow-algorithm", code_digest=NEW_CODE, name="better boosting")


def code_hash(p: Parliament, address: str) -> str:
    return abi.to_hex(keccak(p.network.client.code(address)))


def _upgrade(p: Parliament) -> Draft:
    made = p.world.client(STRANGER).transact(Creation("JobRegistry")).contract_address
    assert made is not None
    return a_draft("upgrade", name="jobs", implementation=made, code_hash=code_hash(p, made))


def _rule(p: Parliament) -> Draft:
    disputes, bank = p.network.disputes, FOUNDERS["bank"]
    p.send(bank, disputes.open(p.member("shop"), "dataset", TEXT, TEXT, 7))
    found = dispute_id(p.network.client.chain_id, disputes.address, str(bank.address), 7)
    return a_draft("rule-dispute", dispute=found, ruling="upheld", reasons=TEXT)


def _recover(p: Parliament) -> Draft:
    chain, membership = p.network.client.chain_id, p.network.membership.address
    accepted = sign_recovery(NEWCOMER, p.member("clinic"), chain, membership)
    account = str(NEWCOMER.address)
    return a_draft(
        "recover-account", member=p.member("clinic"), account=account, acceptance=accepted
    )


def _remove_issuer(p: Parliament) -> Draft:
    p.carry(a_draft("name-issuer", kind="iso27001", issuer=str(STRANGER.address)))
    return a_draft("remove-issuer", kind="iso27001", issuer=str(STRANGER.address))


def _review_break_glass(p: Parliament) -> Draft:
    net, people = p.network, DOCTORS
    for person in people:
        p.send(FOUNDERS["shop"], net.reviews.appoint(str(person.address)))
    terms = p.world.terms(purposes=("emergency",), until=p.world.now() + 3600, uses=1, nonce=2**100)
    signed = [
        net.breakglass.sign_opening(person, net.consents.digest(terms), TEXT) for person in people
    ]
    first, second = (str(person.address) for person in people)
    opened = p.send(STRANGER, net.breakglass.open(terms, first, signed[0], second, signed[1], TEXT))
    found = opened.event("BreakGlassOpened").args["id"]
    return a_draft("review-break-glass", emergency=found, justified=False, reasons=TEXT)


def _release(p: Parliament) -> Draft:
    for name in ("bank", "shop"):
        p.send(FOUNDERS[name], p.network.brake.pull(TEXT))
    assert p.network.brake.is_paused()
    return a_draft("release-brake")


AGENDA: Mapping[str, Callable[[Parliament], Draft]] = {
    "admit": _admit,
    "suspend": lambda p: a_draft("suspend", member=p.member("clinic")),
    "reinstate": _reinstate,
    "expel": lambda p: a_draft("expel", member=p.member("clinic")),
    "allow-algorithm": reviewed,
    "forbid-algorithm": lambda p: a_draft("forbid-algorithm", code_digest=CODE),
    "admit-scheme": lambda p: a_draft("admit-scheme", scheme="lattice"),
    "withdraw-scheme": lambda p: a_draft("withdraw-scheme", scheme="paillier"),
    "set-minimum": lambda p: a_draft("set-minimum", name="key-bits", value=3072),
    "allow-purpose": lambda p: a_draft("allow-purpose", purpose="weather"),
    "withdraw-purpose": lambda p: a_draft("withdraw-purpose", purpose="training"),
    "upgrade": _upgrade,
    "set-constitution": lambda p: a_draft("set-constitution", digest=TEXT),
    "rule-dispute": _rule,
    "recover-account": _recover,
    "name-issuer": lambda p: a_draft("name-issuer", kind="iso27001", issuer=str(STRANGER.address)),
    "remove-issuer": _remove_issuer,
    "require-attestation": lambda p: a_draft("require-attestation", kind="iso27001", required=True),
    "review-break-glass": _review_break_glass,
    "release-brake": _release,
    "set-voting": lambda p: a_draft(
        "set-voting",
        voting_delay=3,
        voting_period=20,
        late_quorum=4,
        quorum_minimum=3,
        timelock_delay=6,
    ),
    "move-authority": lambda p: a_draft("move-authority", to=str(STRANGER.address)),
}
