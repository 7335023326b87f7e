"""A certificate that holds, and what a dishonest issuer could sign in its place.

`tests/vectors/certificate.json` is one of `tests.chain.world`: every verifier has to accept it, and
to find each of `LIES` at the same place.
"""

import base64
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chain import canonical, merkle
from chain.certificate import SECTIONS, Signer, result_digest, seal
from chain.entries import commit, commitment, disclose
from chain.reconciliation import receipt_body

CERTIFICATE = (Path(__file__).parent.parent / "vectors" / "certificate.json").read_bytes()
VALUE: dict[str, Any] = json.loads(CERTIFICATE)
OTHER = "0x" + "ab" * 32

Change = Callable[[dict[str, Any]], None]


def signer(party: int) -> Signer:
    """The bank is party 0, the shop 1; their keys are no secret (`tests.chain.world.Party`)."""
    stated = VALUE["parties"][party]
    secret = stated["memberName"].encode().ljust(32, b".")
    key = Ed25519PrivateKey.from_private_bytes(secret)
    return Signer(stated["site"], stated["requestKey"]["id"], key.sign)


def resealed(change: Change, *signers: Signer) -> bytes:
    """The issuer changes the body and signs it properly."""
    body = {name: copy.deepcopy(VALUE[name]) for name in ("version", *SECTIONS)}
    change(body)
    return seal(body, signers or (signer(0),))


def rewritten(change: Change) -> bytes:
    """Somebody changes the file and signs nothing."""
    value = copy.deepcopy(VALUE)
    change(value)
    return canonical.dumps(value) + b"\n"


def _drop(log: int, kind: str) -> Change:
    """The issuer leaves out the first entry of that kind."""

    def change(body: dict[str, Any]) -> None:
        entries = body["logs"][log]["entries"]
        entries.remove(next(e for e in entries if e["entry"]["type"] == f"fatechain.{kind}.v1"))

    return change


def _drop_messages(body: dict[str, Any]) -> None:
    """Of both logs."""
    for log in body["logs"]:
        log["entries"] = [e for e in log["entries"] if ".message." not in e["entry"]["type"]]


def _drop_line(kind: str, sender: int) -> Change:
    """Both logs leave out what a party declared."""

    def change(body: dict[str, Any]) -> None:
        site = VALUE["parties"][sender]["site"]
        for log in body["logs"]:
            log["entries"] = [
                part
                for part in log["entries"]
                if [part["disclosed"].get(name, ["", ""])[1] for name in ("messageKind", "sender")]
                != [kind, site]
            ]

    return change


def _drop_declaration(log: int, kind: str, what: str) -> Change:
    """One log leaves out the first entry of that kind about a declaration."""

    def change(body: dict[str, Any]) -> None:
        entries = body["logs"][log]["entries"]
        entries.remove(body["logs"][log]["entries"][entry_of(log, kind, what)])

    return change


def entry_of(log: int, kind: str, what: str) -> int:
    """The first entry of a kind (sent, received) about a message of that kind."""
    for position, part in enumerate(VALUE["logs"][log]["entries"]):
        told = part["disclosed"].get("messageKind", ["", ""])[1]
        if part["entry"]["type"] == f"fatechain.message.{kind}.v1" and told == what:
            return position
    raise LookupError(f"no {what} was {kind}")


def _agreed(position: int, **changes: Any) -> Change:
    """The bank tells another thing in an entry that it was sent, the shop the same, with a receipt.

    With ``n`` it stands beside what was there.
    """

    def change(body: dict[str, Any]) -> None:
        sent = body["logs"][0]["entries"][position]
        told = {name: value for name, (_, value) in sent["disclosed"].items()} | changes
        when, key_id = (told["receipt"][name] for name in ("receivedAt", "keyId"))
        names = ("job", "step", "attempt", "sender", "receiver", "n")
        address = {name: told[name] for name in names} | {"kind": told["messageKind"]}
        signed = receipt_body(address, told["digest"], told["size"], when, key_id)
        signature = base64.b64encode(signer(1).sign(canonical.dumps(signed))).decode()
        receipt = {"receivedAt": when, "keyId": key_id, "signature": signature}
        other = {name: value for name, value in told.items() if name != "receipt"}
        for log, kind, data in (
            (0, "sent", {**told, "receipt": receipt}),
            (1, "received", {**other, "signatureDigest": "0x00"}),
        ):
            entries = body["logs"][log]["entries"]
            at = position if log == 0 else entry_of(1, "received", told["messageKind"])
            contents = {name: canonical.dumps(value) for name, value in data.items()}
            salt = bytes(32)
            part = copy.deepcopy(entries[at])
            assert part["entry"]["type"] == f"fatechain.message.{kind}.v1"
            part["entry"]["data"] = commit(salt, contents)
            part["disclosed"] = disclose(salt, data)
            part["leafHash"] = "0x" + merkle.leaf_hash(canonical.dumps(part["entry"])).hex()
            if "n" in changes:
                entries.append(part)
            else:
                entries[at] = part

    return change


def _other_metrics(body: dict[str, Any]) -> None:
    body["result"]["metrics"]["extra"] = 1
    body["result"]["digest"] = result_digest(body["job"]["id"], body["result"])


def _entry(body: dict[str, Any], log: int = 0, position: int = 0) -> dict[str, Any]:
    part: dict[str, Any] = body["logs"][log]["entries"][position]
    return part


def _retold(log: int = 0, position: int = 0, **changes: Any) -> Change:
    """A site committed to something else in an entry (the first of the first log), and tells it."""

    def change(body: dict[str, Any]) -> None:
        part = _entry(body, log, position)
        for name, value in changes.items():
            salt = part["disclosed"][name][0]
            part["disclosed"][name] = [salt, value]
            content = canonical.dumps(value)
            part["entry"]["data"][name] = commitment(bytes.fromhex(salt), content)

    return _regrown(change, log)


def _repeated(log: int = 0, position: int = 0, **changes: Any) -> Change:
    """A site enters a message again, and tells something else of it."""

    def change(body: dict[str, Any]) -> None:
        entries = body["logs"][log]["entries"]
        entries.append(copy.deepcopy(entries[position]))
        _retold(log, len(entries) - 1, **changes)(body)

    return change


def _disclosing(name: str, disclosed: Any) -> Change:
    """The first entry of the first log shows something else than it committed to."""
    return lambda body: _entry(body)["disclosed"].update({name: disclosed})


def _other_salt(body: dict[str, Any]) -> None:
    pair = _entry(body)["disclosed"]["size"]
    pair[0] = "0" * 64


def _salted(length: int) -> Change:
    def change(body: dict[str, Any]) -> None:
        pair = _entry(body)["disclosed"]["size"]
        pair[0] = (pair[0] * 2)[:length]

    return change


def _regrown(change: Change, number: int = 0) -> Change:
    """A log as it would stand had its site entered something else, and anchored that."""

    def regrown(body: dict[str, Any]) -> None:
        change(body)
        log = body["logs"][number]
        leaves = [merkle.leaf_hash(canonical.dumps(part["entry"])) for part in log["entries"]]
        tree = merkle.Tree(leaves)
        log["anchored"]["root"] = "0x" + tree.root().hex()
        for index, (part, leaf) in enumerate(zip(log["entries"], leaves, strict=True)):
            proof = ["0x" + sibling.hex() for sibling in tree.inclusion_proof(index)]
            part.update(leafHash="0x" + leaf.hex(), proof=proof)

    return regrown


def bracketed(body: dict[str, Any]) -> None:
    """An entry with a long text of quotes, backslashes and brackets: no lie."""

    def change(body: dict[str, Any]) -> None:
        part, salt, note = _entry(body, 0, 2), bytes(32), '[{\\"' * 300_000
        part["entry"]["data"]["note"] = commitment(salt, canonical.dumps(note))
        part["disclosed"]["note"] = [salt.hex(), note]

    _regrown(change)(body)
    body["state"] = None  # the contracts have another head


def _finished(body: dict[str, Any]) -> dict[str, Any]:
    """Entry 2 of the first log: `task.finished`, which names its job as the subject alone."""
    entry: dict[str, Any] = body["logs"][0]["entries"][2]["entry"]
    assert entry["type"] == "fatechain.task.finished.v1"
    return entry


def _two_faults(body: dict[str, Any]) -> None:
    entries = body["logs"][0]["entries"]
    entries[1]["proof"].reverse()
    entries[3]["leafHash"] = OTHER


LIES: list[tuple[str, Change, str, str]] = [
    (
        "another specification",
        lambda b: b["specification"].update(kind="x"),
        "specification",
        "$.specification",
    ),
    (
        "another purpose",
        lambda b: b["job"].update(purpose="marketing"),
        "specification",
        "$.specification.purpose",
    ),
    (
        "a grant left out",
        lambda b: b["parties"][1]["datasets"][0].update(grant=None),
        "specification",
        "$.specification.parties[1].inputs[0].grant",
    ),
    (
        "another job",
        lambda b: b["job"].update(id=OTHER),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.job",
    ),
    (
        "a party left out",
        lambda b: b["parties"].pop(),
        "logs",
        "$.logs",
    ),
    (
        "parties in another order",
        lambda b: b["parties"].reverse(),
        "specification",
        "$.specification.parties[0].site",
    ),
    (
        "another key",
        lambda b: b["parties"][0]["requestKey"].update(publicKey=OTHER),
        "signatures",
        "$.signatures[0].signature",
    ),
    (
        "a key of another kind",
        lambda b: b["parties"][0]["requestKey"].update(publicKey="0x00"),
        "signatures",
        "$.signatures[0].signature",
    ),
    (
        "a key of another name",
        lambda b: b["parties"][0]["requestKey"].update(id=OTHER),
        "signatures",
        "$.signatures[0].keyId",
    ),
    (
        "another issuer",
        lambda b: b["issued"].update(by=OTHER),
        "signatures",
        "$.signatures",
    ),
    (
        "another metric",
        lambda b: b["result"]["metrics"].update(extra=1),
        "result",
        "$.result.digest",
    ),
    ("a metric that nobody attested", _other_metrics, "result", "$.result.digest"),
    ("another attempt", lambda b: b["result"].update(attempt=2), "result", "$.result.digest"),
    ("a model left out", lambda b: b.update(model=None), "model", "$.model"),
    ("another model", lambda b: b["model"].update(digest=OTHER), "model", "$.model.digest"),
    (
        "an output left out",
        lambda b: b["steps"][0]["outputs"].popitem(),
        "steps",
        "$.steps[0].outputs",
    ),
    (
        "another attempt of a step",
        lambda b: b["steps"][1].update(attempt=2),
        "steps",
        f"$.steps[1].outputs[{min(VALUE['steps'][1]['outputs'])}]",
    ),
    ("a log left out", lambda b: b["logs"].pop(), "logs", "$.logs"),
    (
        "another root",
        lambda b: b["logs"][0]["anchored"].update(root=OTHER),
        "logs",
        "$.logs[0].entries[0].proof",
    ),
    (
        "another size",
        lambda b: b["logs"][1]["anchored"].update(size=2),
        "logs",
        "$.logs[1].entries[0].proof",
    ),
    (
        "a witness counted twice",
        lambda b: b["logs"][1]["anchored"].update(cosigners=[OTHER, OTHER]),
        "logs",
        "$.logs[1].anchored.cosigners",
    ),
    (
        "a size beyond 32 bits",
        lambda b: b["logs"][1]["anchored"].update(size=2**53 - 1),
        "logs",
        "$.logs[1].entries[0].proof",
    ),
    (
        "an edited entry",
        lambda b: _entry(b)["entry"].update(actor="x"),
        "logs",
        "$.logs[0].entries[0].leafHash",
    ),
    (
        "another leaf",
        lambda b: _entry(b).update(leafHash=OTHER),
        "logs",
        "$.logs[0].entries[0].leafHash",
    ),
    (
        "a proof in another order",
        lambda b: b["logs"][1]["entries"][2]["proof"].reverse(),
        "logs",
        "$.logs[1].entries[2].proof",
    ),
    (
        "an entry of another site",
        _regrown(lambda b: _entry(b)["entry"].update(source=OTHER)),
        "logs",
        "$.logs[0].entries[0].entry.source",
    ),
    (
        "an entry of another job",
        _regrown(lambda b: _finished(b).update(subject=OTHER)),
        "logs",
        "$.logs[0].entries[2].entry",
    ),
    (
        "two faults, of which the first is found later",
        _two_faults,
        "logs",
        "$.logs[0].entries[1].proof",
    ),
    (
        "entries in another order",
        lambda b: b["logs"][0]["entries"].reverse(),
        "logs",
        "$.logs[0].entries",
    ),
    (
        "an entry twice",
        lambda b: b["logs"][0]["entries"].insert(0, _entry(b)),
        "logs",
        "$.logs[0].entries",
    ),
    (
        "more messages",
        lambda b: b["reconciliation"].update(messages=99),
        "reconciliation",
        "$.reconciliation.messages",
    ),
    (
        "more approvals",
        lambda b: b["reconciliation"].update(approvals=3),
        "reconciliation",
        "$.reconciliation.approvals",
    ),
    (
        "other messages",
        lambda b: b["reconciliation"].update(digest=OTHER),
        "reconciliation",
        "$.reconciliation.digest",
    ),
    (
        "a message that was not sent",
        _drop(0, "message.sent"),
        "reconciliation",
        "$.logs[1].entries[0]",
    ),
    (
        "a message that was not received",
        _drop(1, "message.received"),
        "reconciliation",
        "$.logs[0].entries[0]",
    ),
    *(
        (
            f"{what} that {('the bank', 'the shop')[log]} did not enter as {kind}",
            _drop_declaration(log, kind, what),
            "reconciliation",
            f"$.logs[{1 - log}].entries[{entry_of(1 - log, other, what)}]",
        )
        for log, kind, other, what in (
            (0, "sent", "received", "job.Approval"),
            (0, "received", "sent", "job.Approval"),
            (1, "received", "sent", "job.Approval"),
            (1, "sent", "received", "job.GrantUse"),
            (0, "received", "sent", "job.GrantUse"),
            (0, "sent", "received", "job.Result"),
            (1, "received", "sent", "job.Result"),
        )
    ),
    *(
        (
            f"{what} that both logs leave out",
            _drop_line(what, sender),
            "reconciliation",
            f"$.logs[{sender}]",
        )
        for what, sender in (
            ("job.Approval", 0),
            ("job.Approval", 1),
            ("job.GrantUse", 1),
            ("job.Result", 0),
            ("job.Result", 1),
        )
    ),
    (
        "another approval that both logs tell alike",
        _agreed(entry_of(0, "sent", "job.Approval"), digest=OTHER),
        "reconciliation",
        f"$.logs[0].entries[{entry_of(0, 'sent', 'job.Approval')}].disclosed.digest",
    ),
    (
        "an approval too much that both logs tell alike",
        _agreed(entry_of(0, "sent", "job.Approval"), n=1),
        "reconciliation",
        f"$.logs[0].entries[{len(VALUE['logs'][0]['entries'])}]",
    ),
    (
        "another message than the receiver signed for",
        _retold(digest=OTHER),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.receipt",
    ),
    (
        "a longer message than the receiver signed for",
        _retold(size=1001),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.receipt",
    ),
    (
        "another message at the receiver's end",
        _retold(1, 0, digest=OTHER),
        "reconciliation",
        "$.logs[1].entries[0].disclosed.digest",
    ),
    (
        "a longer message at the receiver's end",
        _retold(1, 0, size=1001),
        "reconciliation",
        "$.logs[1].entries[0].disclosed.size",
    ),
    (
        "the receipt of another message",
        _retold(receipt=VALUE["logs"][0]["entries"][3]["disclosed"]["receipt"][1]),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.receipt",
    ),
    (
        "a receipt of a message sent again by a key that nobody has",
        _repeated(
            receipt={
                **VALUE["logs"][0]["entries"][0]["disclosed"]["receipt"][1],
                "keyId": OTHER,
            }
        ),
        "reconciliation",
        f"$.logs[0].entries[{len(VALUE['logs'][0]['entries'])}].disclosed.receipt",
    ),
    (
        "a message that its receiver made up",
        _repeated(1, n=99),
        "reconciliation",
        f"$.logs[1].entries[{len(VALUE['logs'][1]['entries'])}]",
    ),
    (
        "a message from no party",
        _repeated(1, sender=OTHER),
        "reconciliation",
        f"$.logs[1].entries[{len(VALUE['logs'][1]['entries'])}].disclosed.sender",
    ),
    (
        "no receipt",
        _retold(receipt=None),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.receipt",
    ),
    (
        "a receipt that is hidden",
        lambda b: _entry(b)["disclosed"].pop("receipt"),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.receipt",
    ),
    (
        "a key of receipts left out",
        lambda b: b["reconciliation"]["keys"].pop(1),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.receipt",
    ),
    (
        "a key of receipts too much",
        lambda b: b["reconciliation"]["keys"].append(
            {**b["reconciliation"]["keys"][0], "id": OTHER}
        ),
        "reconciliation",
        "$.reconciliation.keys",
    ),
    (
        "a key of receipts of a stranger",
        lambda b: b["reconciliation"]["keys"][0].update(site=OTHER),
        "reconciliation",
        "$.reconciliation.keys[0].site",
    ),
    (
        "another key of receipts",
        lambda b: b["reconciliation"]["keys"][0].update(publicKey=OTHER),
        "reconciliation",
        "$.reconciliation.keys[0].publicKey",
    ),
    (
        "a message of a stranger",
        _retold(sender=OTHER),
        "reconciliation",
        "$.logs[0].entries[0].disclosed.sender",
    ),
    (
        "a message without its number",
        _retold(n="0"),
        "reconciliation",
        "$.logs[0].entries[0].disclosed",
    ),
    (
        "a message that hides its number",
        lambda b: _entry(b)["disclosed"].pop("n"),
        "reconciliation",
        "$.logs[0].entries[0].disclosed",
    ),
    (
        "another value than the one committed to",
        lambda b: _entry(b)["disclosed"]["size"].__setitem__(1, 1001),
        "logs",
        "$.logs[0].entries[0].disclosed.size",
    ),
    ("another salt", _other_salt, "logs", "$.logs[0].entries[0].disclosed.size"),
    ("a shorter salt", _salted(62), "logs", "$.logs[0].entries[0].disclosed.size"),
    ("a longer salt", _salted(66), "logs", "$.logs[0].entries[0].disclosed.size"),
    (
        "a salt in capitals",
        lambda b: _disclosing("size", [_entry(b)["disclosed"]["size"][0].upper(), 1000])(b),
        "logs",
        "$.logs[0].entries[0].disclosed.size",
    ),
    (
        "the value of another field",
        lambda b: _disclosing("n", _entry(b)["disclosed"]["size"])(b),
        "logs",
        "$.logs[0].entries[0].disclosed.n",
    ),
    (
        "a field that the entry does not have",
        lambda b: _disclosing("more", _entry(b)["disclosed"]["size"])(b),
        "logs",
        "$.logs[0].entries[0].disclosed.more",
    ),
    (
        "a disclosure without a value",
        lambda b: _disclosing("n", [_entry(b)["disclosed"]["n"][0]])(b),
        "logs",
        "$.logs[0].entries[0].disclosed.n",
    ),
    (
        "an entry without data",
        _regrown(lambda b: _entry(b)["entry"].pop("data")),
        "logs",
        "$.logs[0].entries[0].entry.data",
    ),
    (
        "an entry that committed to nothing",
        _regrown(lambda b: _entry(b)["entry"]["data"].update(n=0)),
        "logs",
        "$.logs[0].entries[0].entry.data.n",
    ),
    (
        "an entry whose type is none",
        lambda b: _entry(b)["entry"].update(type=["fatechain.message.sent.v1"]),
        "reconciliation",
        "$.logs[1].entries[0]",
    ),
    ("no message at all", _drop_messages, "reconciliation", "$.logs[0]"),
    ("an attestation left out", _drop(1, "result.attested"), "result", "$.result.digest"),
    (
        "a finished step left out",
        _drop(1, "task.finished"),
        "steps",
        f"$.steps[0].outputs[{VALUE['parties'][1]['site']}]",
    ),
]
"""What is changed, how, which subject fails, and where."""

_SIGNATURE = VALUE["signatures"][0]["signature"]
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_SPARE = _SIGNATURE[:-3] + _ALPHABET[_ALPHABET.index(_SIGNATURE[-3]) ^ 1] + "=="

FORGERIES: list[tuple[str, Change, str, str]] = [
    (
        "a section",
        lambda v: v["result"]["metrics"].update(extra=1),
        "sections",
        "$.result",
    ),
    ("a digest", lambda v: v["sections"].update(job=OTHER), "sections", "$.job"),
    (
        "a signer that is no party",
        lambda v: v["signatures"].append({**v["signatures"][0], "site": OTHER}),
        "signatures",
        "$.signatures[1].site",
    ),
    (
        "a signature twice",
        lambda v: v["signatures"].append(v["signatures"][0]),
        "signatures",
        "$.signatures",
    ),
    (
        "spare bits of a signature",
        lambda v: v["signatures"][0].update(signature=_SPARE),
        "signatures",
        "$.signatures[0].signature",
    ),
    (
        "a short signature",
        lambda v: v["signatures"][0].update(signature="AAAA"),
        "signatures",
        "$.signatures[0].signature",
    ),
    ("the version", lambda v: v.update(version=1), "format", "$.version"),
    (
        "nothing disclosed",
        lambda v: v["logs"][0]["entries"][0].pop("disclosed"),
        "format",
        "$.logs[0].entries[0].disclosed",
    ),
    ("true for a number", lambda v: v.update(version=True), "format", "$.version"),
    ("a field left out", lambda v: v["job"].pop("purpose"), "format", "$.job.purpose"),
    ("a field too much", lambda v: v["job"].update(more=1), "format", "$.job.more"),
    (
        "a text for a number",
        lambda v: v["job"].update(startedAt="7"),
        "format",
        "$.job.startedAt",
    ),
    ("half a block", lambda v: v["job"].update(startedAt=7.5), "format", "$.job.startedAt"),
    (
        "a hash in capitals",
        lambda v: v["job"].update(id=OTHER.upper()),
        "format",
        "$.job.id",
    ),
    ("a time that is none", lambda v: v["issued"].update(at="today"), "format", "$.issued.at"),
    (
        "a long name",
        lambda v: v["parties"][0].update(memberName="n" * 1001),
        "format",
        "$.parties[0].memberName",
    ),
    ("no parties", lambda v: v["parties"].clear(), "format", "$.parties"),
    ("17 parties", lambda v: v.update(parties=v["parties"] * 9), "format", "$.parties"),
    (
        "an output of nobody",
        lambda v: v["steps"][0]["outputs"].update(shop=OTHER),
        "format",
        "$.steps[0].outputs.shop.[key]",
    ),
    (
        "not reconciled",
        lambda v: v["reconciliation"].update(agrees=False),
        "format",
        "$.reconciliation.agrees",
    ),
    (
        "a number for true",
        lambda v: v["reconciliation"].update(agrees=1),
        "format",
        "$.reconciliation.agrees",
    ),
]
"""What is changed in a file that nobody signs again, how, which subject fails, and where."""

MALFORMED: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("no newline", CERTIFICATE[:-1]),
    ("a space for the newline", CERTIFICATE[:-1] + b" "),
    ("two newlines", CERTIFICATE + b"\n"),
    ("another type", b"[]\n"),
    ("text", b"certificate\n"),
    ("no UTF-8", b"\xff\xfe\n"),
    ("a byte order mark", b"\xef\xbb\xbf" + CERTIFICATE),
    ("spaces", CERTIFICATE.replace(b":3}", b": 3}")),
    ("a key twice", b'{"a":1,"a":1}\n'),
    ("keys in another order", b'{"b":1,"a":1}\n'),
    ("another way to write a number", CERTIFICATE.replace(b'"version":3}', b'"version":3.0}')),
    ("a huge number", b'{"version":1' + b"0" * 5000 + b"}\n"),
    ("an integer that is not exact", b'{"version":9007199254740992}\n'),
    ("no number", b'{"version":NaN}\n'),
    ("half a character", b'{"version":"\\ud800"}\n'),
    ("41 levels", b'{"a":' * 41 + b"1" + b"}" * 41 + b"\n"),
    ("a text without end", b'{"version":"' + b"\\\\" * 100 + b"\n"),
    ("depth", b"[" * 100_000 + b"]" * 100_000 + b"\n"),
]
"""Files that have no form, each refused at "$"."""
