"""A node serves the page that verifies certificates to anybody, with the policy that it states."""

from __future__ import annotations

from pathlib import Path

from node.ui.verifier import page, policy
from tests.node.face import add_job, make_site, token_of, visitor

HTML = {"Accept": "text/html"}


async def test_anybody_gets_the_page_and_it_may_run_nothing_but_itself(tmp_path: Path) -> None:
    with make_site(tmp_path / "bank") as site:
        async with visitor(site, **HTML) as client:
            answer = await client.get("/verify")
        assert answer.status_code == 200
        assert answer.content == page()
        stated = answer.headers["Content-Security-Policy"]
        assert stated == f"{policy()}; frame-ancestors 'none'"
        assert "default-src 'none'; script-src 'sha256-" in stated
        assert "unsafe" not in stated


async def test_the_page_of_a_job_leads_there_from_its_certificate(tmp_path: Path) -> None:
    with make_site(tmp_path / "bank") as site:
        certified, plain = add_job(site, certificate="jobs/certificate.json"), add_job(site)
        async with visitor(site, Authorization=f"Bearer {token_of(site)}", **HTML) as client:
            assert 'href="/verify"' in (await client.get(f"/jobs/{certified}")).text
            assert 'href="/verify"' not in (await client.get(f"/jobs/{plain}")).text
