"""The script of the login page: what it has signed is what the node reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from node.siwe import parse
from node.ui import explorer
from tests.node.crowd import wallet

HARNESS = Path(__file__).with_name("wallet_page.mjs")
ADDRESS = wallet(3).address
TERMS = {
    "address": ADDRESS,
    "nonce": "0123456789abcdef",
    "domain": "bank.example:8443",
    "uri": "https://bank.example:8443",
    "version": "1",
    "chain_id": 31337,
    "statement": "Sign in to this FATE-Chain node. This costs nothing and sends no transaction.",
}


def click(folder: Path, **plan: Any) -> dict[str, Any]:
    """What a click on the page's button did."""
    module = folder / "wallet.mjs"  # so that it is taken for a module outside a browser
    module.write_bytes((explorer.FOLDER / "static" / "wallet.js").read_bytes())
    given = json.dumps({"terms": TERMS, "accounts": [ADDRESS.lower()]} | plan)
    done = subprocess.run(
        ["node", str(HARNESS), str(module), given],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_wallet_is_shown_a_message_that_the_node_reads(tmp_path: Path) -> None:
    done = click(tmp_path, signature="0x12")
    ((text, account),) = (call["params"] for call in done["signed"])
    message = parse(bytes.fromhex(text[2:]).decode("ascii"))
    assert (message.address, account) == (ADDRESS, ADDRESS.lower())
    assert (message.domain, message.uri, message.chain_id, message.nonce, message.statement) == (
        TERMS["domain"],
        TERMS["uri"],
        TERMS["chain_id"],
        TERMS["nonce"],
        TERMS["statement"],
    )
    nonce, posted = done["asked"]
    assert nonce["path"] == f"/v1/sign-in/nonce?address={ADDRESS.lower()}"
    assert posted["path"] == "/v1/sign-in"
    assert posted["body"] == {"message": message.text(), "signature": "0x12"}
    assert posted["headers"]["X-FateChain-Request"] == "1"
    assert posted["credentials"] == "same-origin"
    assert done["went"] == "/jobs"


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"accounts": None}, "no wallet"),
        ({"refusal": {"code": 4001, "message": "User rejected"}}, "refused"),
        ({"refusal": {"code": -32603, "message": "locked"}}, "locked"),
        ({"chain": "0x1"}, "on 1, not on 31337"),
        (
            {
                "signature": "0x12",
                "answer": {"status": 403, "detail": "not here", "hint": "ask somebody"},
            },
            "not here — ask somebody",
        ),
        (
            {"signature": "0x12", "answer": {"status": 403, "code": "PersonUnknown"}},
            "nobody known",
        ),
    ],
)
def test_what_went_wrong_is_said_and_leads_nowhere(
    tmp_path: Path, plan: dict[str, Any], said: str
) -> None:
    done = click(tmp_path, **plan)
    assert done["said"] == said
    assert done["went"] is None


def test_a_wallet_that_switches_to_the_node_s_chain_signs(tmp_path: Path) -> None:
    done = click(tmp_path, chain="0x1", switched=True, signature="0x12")
    assert done["went"] == "/jobs"
