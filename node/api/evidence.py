"""Who read the evidence: an auditor's look into it is evidence too.

What the holder of the operator's token and the site's programs read is not entered: they look all
day, and whoever reads the home reads everything.
"""

from __future__ import annotations

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from node.api.auth import actor_of, subject_of, template_of
from node.audit.entries import record
from node.site import Site


def enter_reading(request: Request) -> None:
    """Enter that an auditor reads this."""
    actor = actor_of(request)
    if actor is None or actor.address is None or "auditor" not in actor.roles:
        return
    site: Site = request.app.state.site
    data = {"how": actor.how, "route": template_of(request)}
    with site.store.begin() as session:
        record(session, "evidence.read", subject_of(request), data, actor.id)


async def _entered(request: Request) -> None:
    await run_in_threadpool(enter_reading, request)


EVIDENCE = Depends(_entered)
"""The dependency of a route that shows evidence."""
