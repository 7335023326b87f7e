"""What a dishonest issuer could say of the chain in a certificate or a pack that carries a proof of
the contracts' state: every verifier has to find each at the same place, with no chain asked.
"""

from collections.abc import Callable
from typing import Any

from chain import canonical
from tests.chain.forged_state import checkpoint, with_standings

OTHER = "0x" + "ab" * 32

Change = Callable[[dict[str, Any]], Any]


def grant(body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = body["parties"][1]["datasets"][0]["grant"]
    return found


def _other_specification(body: dict[str, Any]) -> None:
    body["specification"]["note"] = "never agreed"
    body["job"]["specification"] = canonical.digest_of(body["specification"])


SUSPENDED_LATER = checkpoint(2**64, 2)
STANDING_LIES: list[tuple[str, Change, str, str]] = [
    (
        "a standing that changes without end",
        with_standings(2**255, {}, SUSPENDED_LATER),
        "$.parties[0].member",
        f"{2**255} checkpoints",
    ),
    (
        "a standing that changes twice in a block",
        with_standings(3, {0: checkpoint(1, 1)}, SUSPENDED_LATER),
        "$.parties[0].member",
        "checkpoints out of order",
    ),
]
"""Of proofs in order under a header of no chain; and what is said to be wrong."""

STATE_LIES: list[tuple[str, Change, str]] = [
    (
        "another registry",
        lambda b: b["network"].update(jobRegistry=b["network"]["consortium"]),
        "$.network.jobRegistry",
    ),
    ("no consortium", lambda b: b["network"].update(consortium="0x" + "11" * 20), "$.state.nodes"),
    ("a specification that nobody agreed to", _other_specification, "$.job.specification"),
    ("another proposer", lambda b: b["job"].update(proposer=OTHER), "$.job.proposer"),
    (
        "another deadline",
        lambda b: b["job"].update(deadline=b["job"]["deadline"] + 1),
        "$.job.deadline",
    ),
    (
        "a later start",
        lambda b: b["job"].update(startedAt=b["job"]["startedAt"] + 1),
        "$.job.startedAt",
    ),
    ("another member", lambda b: b["parties"][0].update(member=OTHER), "$.parties[0].member"),
    (
        "another member's name",
        lambda b: b["parties"][0].update(memberName="Bank"),
        "$.parties[0].memberName",
    ),
    (
        "a long name",
        lambda b: b["parties"][0].update(memberName="b" * 40),
        "$.parties[0].memberName",
    ),
    (
        "another operator",
        lambda b: b["parties"][1].update(operator="0x" + "11" * 20),
        "$.parties[1].operator",
    ),
    ("another role", lambda b: b["parties"][1].update(role="arbiter"), "$.parties[1].role"),
    (
        "an earlier approval",
        lambda b: b["parties"][1].update(approvedAt=1),
        "$.parties[1].approvedAt",
    ),
    (
        "another key",
        lambda b: b["parties"][1]["requestKey"].update(publicKey=OTHER),
        "$.parties[1].requestKey.publicKey",
    ),
    (
        "the key of another site",
        lambda b: b["parties"][1].update(requestKey=b["parties"][0]["requestKey"]),
        "$.parties[1].requestKey.id",
    ),
    (
        "a receipt's key of another site",
        lambda b: b["reconciliation"]["keys"][0].update(
            {n: b["reconciliation"]["keys"][1][n] for n in ("id", "publicKey")}
        ),
        "$.reconciliation.keys[0].id",
    ),
    (
        "more rows",
        lambda b: b["parties"][1]["datasets"][0].update(rows=10**6),
        "$.parties[1].datasets[0].rows",
    ),
    (
        "other rows",
        lambda b: b["parties"][1]["datasets"][0].update(rowsRoot=OTHER),
        "$.parties[1].datasets[0].rowsRoot",
    ),
    (
        "another owner",
        lambda b: grant(b).update(owner=OTHER),
        "$.parties[1].datasets[0].grant.owner",
    ),
    (
        "more uses",
        lambda b: grant(b)["terms"].update(uses=99),
        "$.parties[1].datasets[0].grant.terms.uses",
    ),
    (
        "a purpose that was not granted",
        lambda b: grant(b)["terms"].update(purposes=["marketing"]),
        "$.parties[1].datasets[0].grant.terms.purposes[0]",
    ),
    (
        "a second purpose",
        lambda b: grant(b)["terms"].update(purposes=["training", "marketing"]),
        "$.parties[1].datasets[0].grant.terms.purposes",
    ),
    (
        "a longer grant",
        lambda b: grant(b)["terms"].update(until="9" * 15),
        "$.parties[1].datasets[0].grant.terms.until",
    ),
    (
        "rules that were not set",
        lambda b: grant(b)["terms"].update(columnRules=OTHER),
        "$.parties[1].datasets[0].grant.terms.columnRules",
    ),
    (
        "another state of a grant",
        lambda b: grant(b).update(state="REVOKED"),
        "$.parties[1].datasets[0].grant.state",
    ),
    (
        "another block of a model",
        lambda b: b["model"].update(block=b["model"]["block"] + 1),
        "$.model.block",
    ),
    ("a parent of a model", lambda b: b["model"].update(parents=[OTHER]), "$.model.parents"),
    (
        "a head of another block",
        lambda b: b["logs"][1]["anchored"].update(block=b["logs"][1]["anchored"]["block"] + 1),
        "$.logs[1].anchored.block",
    ),
    (
        "a witness that did not sign",
        lambda b: b["logs"][1]["anchored"].update(cosigners=[b["parties"][1]["member"]]),
        "$.logs[1].anchored.cosigners",
    ),
    ("another block", lambda b: b["state"]["block"].update(hash=OTHER), "$.state.block.hash"),
    ("a later block", lambda b: b["state"]["block"].update(number=10**6), "$.state.block.number"),
    ("a node left out", lambda b: b["state"]["nodes"].pop(), "$.state.nodes"),
    ("a node too much", lambda b: b["state"]["nodes"].append("0xc0"), "$.state.nodes"),
    ("nodes of nothing", lambda b: b["state"].update(nodes=[]), "$.state.nodes"),
    *(lie[:3] for lie in STANDING_LIES),
]
"""What is changed in a certificate, how, and where the check `state` fails."""


def _bounded(pack: dict[str, Any]) -> None:
    pack["chain"]["bounds"] = [pack["chain"]["block"]]


PACK_STATE_LIES: list[tuple[str, Change, str]] = [
    (
        "an earlier end",
        lambda p: p["scope"].update(lastBlock=p["scope"]["lastBlock"] - 1),
        "$.scope.lastBlock",
    ),
    ("a later end", lambda p: p["scope"].update(lastBlock=10**9), "$.scope.lastBlock"),
    (
        "blocks left out at the beginning",
        lambda p: p["scope"].update(firstBlock=1),
        "$.scope.firstBlock",
    ),
    ("headers of no bounds", _bounded, "$.chain.bounds"),
    (
        "another registry",
        lambda p: p["network"].update(jobRegistry=p["network"]["consortium"]),
        "$.network.jobRegistry",
    ),
    (
        "a head of another block",
        lambda p: p["log"]["anchored"].update(block=1),
        "$.log.anchored.block",
    ),
    ("a job left out", lambda p: p["jobs"].clear(), "$.jobs"),
    ("a key left out", lambda p: p["keys"].pop(), "$.keys"),
    ("another key", lambda p: p["keys"][0].update(publicKey=OTHER), "$.keys[0].publicKey"),
    ("a key of another form", lambda p: p["keys"][0].update(more=1), "$.keys[0]"),
    ("a key twice", lambda p: p["keys"].append(p["keys"][0]), "$.keys"),
    (
        "a key of a later block",
        lambda p: p["keys"].append({**p["keys"][0], "id": OTHER, "fromBlock": 10**9}),
        "$.keys[6].fromBlock",
    ),
    (
        "a key that ends later",
        lambda p: p["keys"][0].update(untilBlock=10**9),
        "$.keys[0].untilBlock",
    ),
    ("a key that ended", lambda p: p["keys"][0].update(untilBlock=5), "$.keys[0].untilBlock"),
    ("another key's name", lambda p: p["issued"].update(keyId=OTHER), "$.issued.keyId"),
    ("another block", lambda p: p["chain"]["block"].update(hash=OTHER), "$.chain.block.hash"),
    ("a node left out", lambda p: p["chain"]["nodes"].pop(), "$.chain.nodes"),
    ("a key that nobody registered", lambda p: None, "$.issued.publicKey"),
]
"""The same of a pack, signed by a key of the liar's own, and the check `chain`."""
