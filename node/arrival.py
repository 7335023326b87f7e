"""How a newcomer's node takes its place by itself, once the members have voted for it.

Runs in the sync process.  As long as the site is not on the chain, every new block is asked whether
the site's account is an active member's by now; then the site registers, with the roles of its
settings, its endpoint, and its keys with their proofs.  It may be killed at any point: what the
chain and the database say decides what is to be done next.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from node.audit.entries import acting_as
from node.errors import Conflict, NodeError
from node.refusals import from_error
from node.registration import is_known, register_site, site_on_chain
from node.takeover import orphans

if TYPE_CHECKING:
    from chain.calls import BlockRef
    from chain.network import Network
    from node.site import Site

log = logging.getLogger(__name__)

SYNC = "sync"  # the actor of what nobody asked for in person


class Arrival:
    """Registers the site when its member is admitted.  Nothing to do without ``roles``."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.is_done = not site.settings.roles
        self.told = self.hint = ""

    def step(self, network: Network, head: BlockRef) -> None:
        """One look at a new head.  Raises `chain.errors.ChainError` for a chain that is silent."""
        from chain.errors import ContractRefused

        if self.is_done:
            return
        own, account = self.site.settings.site_id, self.site.identity.address
        id, stands = site_on_chain(network, account)
        if stands and own != id:
            self.site.change(site_id=id)
        if stands or (own is not None and is_known(network, own)):
            self.is_done = True  # also under an account that followed the one that registered it
            return
        confirmed = max(0, head.number - self.site.settings.confirmations)
        if not network.membership.is_active_account(account, block=confirmed):
            return
        if lost := orphans(network, account):
            self._tell(orphaned(lost[0]))
            return
        try:
            with acting_as(SYNC):
                register_site(self.site, self.site.settings.roles)
        except (ContractRefused, NodeError) as refusal:
            self._tell(from_error(refusal))

    def _tell(self, refusal: NodeError) -> None:
        """Once for each reason; `fatechain check` says it, too."""
        if str(refusal) != self.told:
            self.told, self.hint = str(refusal), refusal.hint or ""
            log.warning("the site cannot be registered: %s; %s", refusal, self.hint)


def orphaned(site: str) -> NodeError:
    return Conflict(
        "SiteOrphaned",
        "the member has a site that the account it lost operated",
        found=site,
        hint="run the home of that site with the new account; or, if the home is lost, end the "
        f"site with `fatechain site retire {site}`, and this one registers itself",
    )
