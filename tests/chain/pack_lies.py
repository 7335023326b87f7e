"""An evidence pack that holds, and what a dishonest issuer could sign in its place.

`tests/vectors/pack.json` was made by `tests.node.pack_vector`: every verifier has to accept it, and
to find each of `LIES` that needs no chain at the same place.
"""

import base64
import copy
import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import canonical
from chain.merkle import Tree
from chain.ranges import range_proof
from chain.statement import signed_bytes

FILE = Path(__file__).parent.parent / "vectors" / "pack.json"
PACK = FILE.read_bytes()
VALUE: dict[str, Any] = json.loads(PACK)
OTHER = "0x" + "ab" * 32
ZERO = "0x" + "00" * 32
KEY = Ed25519PrivateKey.from_private_bytes(b"anybody can make a key".ljust(32, b"."))

Change = Callable[[dict[str, Any]], Any]


def content(value: dict[str, Any]) -> bytes:
    """The file."""
    return canonical.dumps(value) + b"\n"


def resigned(change: Change, *, proved: bool = False) -> bytes:
    """Somebody changes the pack of the vector and signs it with a key of his own.

    He leaves out what proves that the key is not the site's, but where it shall be `proved`.
    """
    altered = copy.deepcopy(VALUE)
    if not proved:
        altered["chain"] = None
    altered["issued"]["publicKey"] = "0x" + KEY.public_key().public_bytes_raw().hex()
    change(altered)
    signature = KEY.sign(signed_bytes(altered))
    return content(altered | {"signature": base64.b64encode(signature).decode()})


def shown(made: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    entries = enumerate(made["log"]["entries"])
    return [(at, part) for at, part in entries if not isinstance(part, str)]


def of_kind(made: dict[str, Any], kind: str) -> int:
    """The place of the first entry of a kind."""
    return next(at for at, p in shown(made) if p["entry"]["type"] == f"fatechain.{kind}.v1")


def entry(made: dict[str, Any], at: int) -> dict[str, Any]:
    found: dict[str, Any] = made["log"]["entries"][at]
    return found


def hide(name: str) -> Change:
    """An entry does not show a field, and the pack does not say so."""

    def change(p: dict[str, Any]) -> None:
        entry(p, of_kind(p, "message.sent"))["disclosed"].pop(name)

    return change


def swap(p: dict[str, Any]) -> None:
    entries = p["log"]["entries"]
    entries[4], entries[5] = entries[5], entries[4]
    entries[4]["index"], entries[5]["index"] = 4, 5


def with_receipt(**changed: Any) -> Change:
    """The fifth and sixth entries are said to be erased, by a receipt of the key of this file."""

    def change(p: dict[str, Any]) -> None:
        log, digest = p["log"], sha256()
        for part in (entry(p, 4), entry(p, 5)):
            part.update(disclosed={}, erased=True)
            digest.update(bytes.fromhex(part["leafHash"][2:]))
        audit = next(k for k in p["keys"] if (k["site"], k["purpose"]) == (log["site"], "audit"))
        audit["publicKey"] = "0x" + KEY.public_key().public_bytes_raw().hex()
        receipt = {
            "type": "erasure",
            "site": log["site"],
            "scope": "a job",
            "reason": "asked for",
            "actor": "operator",
            "entry": "an entry",
            "entries": [[4, 5]],
            "count": 2,
            "digest": "0x" + digest.hexdigest(),
            "erasedAt": "2026-10-01T00:00:00.000000Z",
            "keyId": audit["id"],
        } | {name: value for name, value in changed.items() if name != "signature"}
        signature = base64.b64encode(KEY.sign(canonical.dumps(receipt))).decode()
        log["erasures"] = [receipt | {"signature": changed.get("signature", signature)}]

    return change


def receipt_twice(p: dict[str, Any]) -> None:
    with_receipt()(p)
    p["log"]["erasures"] *= 2


def cut(p: dict[str, Any], first: int) -> None:
    """The range begins later, with a proof that holds."""
    log = p["log"]
    leaves = [bytes.fromhex(part["leafHash"][2:]) for part in log["entries"]]
    size = log["anchored"]["size"]
    hashes = range_proof(first, size, size, Tree(leaves).hash_at)
    log.update(entries=log["entries"][first:], first=first, proof=["0x" + h.hex() for h in hashes])


def nothing_shown(p: dict[str, Any]) -> None:
    """No entries at all, as if the range were empty."""
    p["log"].update(entries=[], proof=[p["log"]["anchored"]["root"]], first=0, end=0)


def all_erased(p: dict[str, Any]) -> None:
    for _, part in shown(p):
        part.update(disclosed={}, erased=True)


def hide_with_word(p: dict[str, Any]) -> None:
    """A required field is redacted, and the pack says so."""
    p["scope"]["redacted"]["fields"] = ["digest"]
    for _, part in shown(p):
        part["disclosed"].pop("digest", None)
    for part in p["certificates"]:
        part["certificate"] = None


LIES: list[tuple[str, Change, str]] = [
    (
        "another actor",
        lambda p: entry(p, 4)["entry"].update(actor="x"),
        "$.log.entries[4].leafHash",
    ),
    ("another leaf", lambda p: entry(p, 4).update(leafHash=OTHER), "$.log.entries[4].leafHash"),
    (
        "another value",
        lambda p: entry(p, of_kind(p, "message.sent"))["disclosed"]["size"].__setitem__(1, 99),
        "$.log.entries[",
    ),
    ("an entry dropped", lambda p: p["log"]["entries"].pop(4), "$.log.end"),
    (
        "an entry dropped and the range shortened",
        lambda p: (p["log"]["entries"].pop(), p["log"].update(end=p["log"]["end"] - 1)),
        "$.log.end",
    ),
    ("an entry twice", lambda p: p["log"]["entries"].insert(4, entry(p, 4)), "$.log.end"),
    ("entries in another order", swap, "$.log.proof"),
    ("a wrong index", lambda p: entry(p, 4).update(index=5), "$.log.entries[4].index"),
    (
        "another bare hash",
        lambda p: (
            p["scope"].update(site=p["log"]["site"]),
            p["log"]["entries"].__setitem__(4, OTHER),
        ),
        "$.log.proof",
    ),
    (
        "a bare hash in a pack of everything",
        lambda p: p["log"]["entries"].__setitem__(4, entry(p, 4)["leafHash"]),
        "$.log.entries[4]",
    ),
    ("the last three entries for all", lambda p: cut(p, p["log"]["end"] - 3), "$.log.first"),
    ("no entries at all", nothing_shown, "$.log.end"),
    (
        "a certificate kept back",
        lambda p: p["certificates"][0].update(certificate=None, digest=ZERO),
        "$.certificates[0].certificate",
    ),
    ("every entry said to be erased", all_erased, "$.log.entries[0].erased"),
    ("a receipt of other entries", with_receipt(entries=[[4, 4]], count=1), "$.log.erasures[0]"),
    (
        "a receipt that covers one of two",
        with_receipt(entries=[[5, 10**6]], count=10**6 - 4),
        "$.log.entries[4].erased",
    ),
    ("a receipt of another site", with_receipt(site=OTHER), "$.log.erasures[0].site"),
    ("a receipt of no key", with_receipt(keyId=OTHER), "$.log.erasures[0].keyId"),
    ("a receipt that nobody signed", with_receipt(signature="AAAA"), "$.log.erasures[0].signature"),
    ("a receipt that counts wrong", with_receipt(count=3), "$.log.erasures[0].count"),
    ("a receipt with no range", with_receipt(entries=[[5, 4]]), "$.log.erasures[0].entries[0]"),
    ("a receipt of other leaves", with_receipt(digest=OTHER), "$.log.erasures[0].digest"),
    ("a receipt twice", receipt_twice, "$.log.erasures[1].entries"),
    ("a receipt of another shape", with_receipt(count=-1), "$.log.erasures[0].count"),
    (
        "another transaction",
        lambda p: p["log"]["anchored"].update(txHash=ZERO),
        "$.log.anchored.txHash",
    ),
    (
        "blocks left out at the beginning",
        lambda p: p["scope"].update(firstBlock=1),
        "$.scope.firstBlock",
    ),
    ("a wrong root", lambda p: p["log"]["anchored"].update(root=OTHER), "$.log.proof"),
    ("a wrong size", lambda p: p["log"]["anchored"].update(size=10**6), "$.log.end"),
    (
        "a head of another block",
        lambda p: p["log"]["anchored"].update(block=1),
        "$.log.anchored.block",
    ),
    ("a longer proof", lambda p: p["log"]["proof"].append(OTHER), "$.log.proof"),
    ("a field hidden in silence", hide("receipt"), "$.log.entries["),
    ("a required field hidden in silence", hide("digest"), "$.log.entries["),
    ("a required field redacted", hide_with_word, "$.scope.redacted.fields[0]"),
    (
        "fields said to be hidden that a certificate shows",
        lambda p: p["scope"]["redacted"].update(fields=["more"]),
        "$.certificates",
    ),
    ("said to be erased, and shown", lambda p: entry(p, 4).update(erased=True), "$.log.entries[4]"),
    (
        "a kind that is redacted",
        lambda p: p["scope"]["redacted"].update(kinds=["fatechain.message.sent.v1"]),
        "$.log.entries[",
    ),
    (
        "out of the period",
        lambda p: p["scope"].update({"from": "2099-01-01T00:00:00.000000Z"}),
        "$.log.entries[0].entry.time",
    ),
    ("a job left out", lambda p: p["jobs"].clear(), "$.jobs"),
    ("another state", lambda p: p["jobs"][0].update(state="FAILED"), "$.jobs[0].state"),
    ("a grant left out", lambda p: p["grants"].clear(), "$.grants"),
    ("more uses left", lambda p: p["grants"][0].update(left=100), "$.grants[0].left"),
    ("a model left out", lambda p: p["models"].clear(), "$.models"),
    ("a decision left out", lambda p: p["governance"].pop(0), "$.governance"),
    ("a key left out", lambda p: p["keys"].pop(), "$.keys"),
    ("another key", lambda p: p["keys"][0].update(publicKey=OTHER), "$.keys[0]"),
    ("a later block", lambda p: p["scope"].update(lastBlock=10**9), "$.scope.lastBlock"),
    ("another consortium", lambda p: p["network"].update(chainId=1), "$.network.chainId"),
    ("another site's name", lambda p: p["issued"].update(by=OTHER), "$.issued.by"),
    ("another key's name", lambda p: p["issued"].update(keyId=OTHER), "$.issued.keyId"),
    ("a key that did not sign", lambda p: p["issued"].update(publicKey=OTHER), "$.signature"),
    (
        "another certificate",
        lambda p: p["certificates"][0]["certificate"]["result"].update(attempt=2),
        "$.certificates[0].certificate.result",
    ),
    (
        "another digest",
        lambda p: p["certificates"][0].update(digest=OTHER),
        "$.certificates[0].digest",
    ),
    (
        "a certificate of another job",
        lambda p: p["certificates"][0].update(job=OTHER),
        "$.certificates[0].job",
    ),
    (
        "a pack in a pack",
        lambda p: p["certificates"][0].update(certificate=copy.deepcopy(p)),
        "$.certificates[0]",
    ),
    ("another version", lambda p: p.update(version=2), "$.version"),
    ("a part too much", lambda p: p.update(more=1), "$"),
    ("a part left out", lambda p: p.pop("keys"), "$.keys"),
    ("a hash in capitals", lambda p: p["log"].update(site=OTHER.upper()), "$.log.site"),
]
"""What is changed, how, and where it is found."""

ON_CHAIN = frozenset(
    {
        "a head of another block",
        "a job left out",
        "another state",
        "a grant left out",
        "more uses left",
        "a model left out",
        "a decision left out",
        "a key left out",
        "another key",
        "a later block",
        "another consortium",
        "another key's name",
        "another transaction",
        "blocks left out at the beginning",
    }
)
"""Lies that only the chain can tell."""
