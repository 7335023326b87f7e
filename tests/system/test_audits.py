"""One member asks another for evidence, between real nodes, and the other one answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chain import canonical
from node.demo.story import Story
from node.errors import NodeError

pytestmark = pytest.mark.system


def test_a_member_asks_is_answered_and_finds_the_answer_to_hold(story: Story) -> None:
    bank, retailer = story.institution("bank"), story.institution("retailer")
    asked = {"site": retailer.site, "text": "Supervision.", "about": bank.site}
    id = bank.api.post("/v1/audits", asked, wait=60)["id"]

    def answered() -> bool:
        """The question has to arrive, and a head of after it to be anchored."""
        try:
            retailer.api.post(f"/v1/audits/{id}/answer", {"redact": ["receipt"]})
        except NodeError as problem:
            if problem.code not in ("NotFound", "QuestionMissing", "NotAnchored"):
                raise
            return False
        return True

    story.stage.until("the retailer can answer", answered)

    def verdict() -> Any:
        return bank.api.get(f"/v1/audits/{id}")["verdict"]

    found = story.stage.until("the bank has checked the answer", verdict)
    assert found["failures"] == []
    assert found["ok"]
    shown = bank.api.get(f"/v1/audits/{id}")
    content = bank.api.download(f"/v1/audits/{id}/pack")
    assert canonical.digest(content) == shown["pack"]
    pack = json.loads(content)
    assert (pack["issued"]["by"], pack["scope"]["site"]) == (retailer.site, bank.site)
    fetched = list(retailer.api.items("/v1/audit/entries", subject=id))
    assert "fatechain.audit.pack.fetched.v1" in {entry["type"] for entry in fetched}
