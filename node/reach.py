"""Whether a site can be reached from outside: a partner's node looks, and says what it saw.

Only the endpoint that the asking site has on the chain is looked at, and only at the one address
where every node says that it lives; what answers there is not handed on.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx

from node.answers import is_packed
from node.peers import site_client

if TYPE_CHECKING:
    from node.site import Site

PATH = "/v1/health"
LOOK_SECONDS = 5.0
MAX_ANSWER_BYTES = 4096


async def look(site: Site, asking: str) -> dict[str, Any]:
    """What this node sees at the endpoint of the site ``asking``, and this machine's time.

    Raises what the directory says of the endpoint (``UnknownSite``, ``EndpointInvalid``).
    """
    endpoint = await anyio.to_thread.run_sync(site.directory.endpoint, asking)
    detail = await see(endpoint)
    return {"reachable": detail is None, "detail": detail or "a node answers", "time": time.time()}


async def see(endpoint: str) -> str | None:
    """What is wrong at an endpoint; None where a node answers."""
    answer = bytearray()
    try:
        with anyio.fail_after(LOOK_SECONDS):
            async with site_client() as client, client.stream("GET", endpoint + PATH) as response:
                if is_packed(response):
                    return "what answers is no node"
                async for chunk in response.aiter_bytes():
                    answer += chunk
                    if len(answer) > MAX_ANSWER_BYTES:
                        return "what answers is no node"
                status = response.status_code
    except TimeoutError:
        return f"nothing answers within {LOOK_SECONDS:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"nothing answers: {type(error).__name__}"
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        told = None
    if status != httpx.codes.OK or not isinstance(told, dict) or "status" not in told:
        return "what answers is no node"
    return None
