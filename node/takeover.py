"""A site goes on under another account, when the one before was lost or got into other hands.

Two losses, two ways back:

    the member's own account   `recover` makes the home a new account and signs that it accepts; the
                               members vote; then the home takes it and changes its site's operator
    an operator's account      that is not the member's: `replace_operator` makes a new one and
                               agrees; the member's account, which is not here, changes the operator

The home keeps its database, its log and its other keys: a log that began anew would contradict what
is anchored of the site.  The old account's file stays beside the new one; it may hold ether.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from chain import typed_data
from node.audit.entries import acting_as
from node.errors import Conflict, NotFound
from node.files import write_private
from node.identity import next_account_address, take_next_account
from node.refusals import chain_errors, from_error
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site

log = logging.getLogger(__name__)

RECOVERY_FILE = "account-recovery.json"
SYNC = "sync"


# ── The member's account ─────────────────────────────────────────────────────────────────────


def recover(site: Site, member: str) -> dict[str, str]:
    """A new account's signed acceptance to become the member's, also written into the home.

    A home whose account is or was a member's gets another one; the account of a fresh home is taken
    as it is.  Asked again, it is the same account.  Raises `NotFound` for an unknown member.
    """
    from chain.membership import Standing

    with chain_errors():
        network = site.network()
        if network.membership.standing(member) is Standing.NONE:
            raise NotFound(
                "NotFound",
                "the consortium has no such member",
                found=member,
                hint="`fatechain member list` at any member's node shows the ids",
            )
        account = site.identity.account
        if _member_of(network, account.address) is not None:
            account = site.identity.make_next_account(site.settings)
        typed = network.membership.typed_recovery(member, account.address)
    document = {
        "member": member,
        "account": str(account.address),
        "acceptance": typed_data.sign(typed, account),
    }
    content = json.dumps(document, indent=2) + "\n"
    write_private(site.settings.home / RECOVERY_FILE, content.encode())
    return document


class TakeOver:
    """Takes a recovered account into use.  Runs in the sync process."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.is_settled = False  # this home's account operates this home's site

    def step(self, network: Network) -> None:
        """One look.  Raises `chain.errors.ChainError` for a chain that is silent."""
        next_ = next_account_address(self.site.settings)
        if next_ is not None and network.membership.is_active_account(next_):
            take_next_account(self.site.settings)
            log.warning("this site's account is %s from now on", next_)
            self.is_settled = False
        if not self.is_settled and self.site.is_registered:
            self.is_settled = self._settle(network)

    def _settle(self, network: Network) -> bool:
        from chain.errors import ContractRefused

        account = self.site.identity.address
        try:
            found = network.sites.site(self.site.id)
        except ContractRefused:
            return False  # its registration is on its way
        if found.operator.lower() == account.lower():
            return True
        if network.membership.member(found.member).account.lower() != account.lower():
            return False  # the member's account, which is elsewhere, changes the operator
        submitted = Submitted(self.site.id, f"site.operator:{self.site.id}:{account.lower()}")
        call = network.sites.change_operator(self.site.id, account)
        if is_open(self.site, submitted.intent):
            return False
        try:
            rehearse(self.site, call)
        except ContractRefused as refusal:
            log.warning("the site's operator cannot be changed: %s", from_error(refusal))
            return False
        with acting_as(SYNC):
            facts = {"from": found.operator, "to": account}
            submit(self.site, submitted, call, "site.taken_over", facts)
        return False


# ── An operator's account ────────────────────────────────────────────────────────────────────


def replace_operator(site: Site) -> Submitted:
    """Give this home a new account that agrees to operate its site.

    The member's account then makes it the operator.  Asked again before that, it is the same
    account.  Raises `Conflict` where the account is the member's own.
    """
    network = site.network()
    account = site.identity.address
    found = network.sites.site(site.id)
    if _member_of(network, account) is not None:
        raise Conflict(
            "Conflict",
            "this home's account is the member's own",
            found=account,
            hint="a member's account is replaced by a vote: fatechain recover --member "
            f"{found.member}",
        )
    call = network.sites.agree(site.id)
    if found.operator.lower() == account.lower():
        rehearse(site, call)  # before anything changes; the new account has no ether yet
        site.identity.make_next_account(site.settings)
        take_next_account(site.settings)
        account = site.identity.address
    submitted = Submitted(site.id, f"site.agree:{site.id}:{account.lower()}")
    return submit(site, submitted, call, "site.agreed", {"operator": account})


# ── Sites that were left behind ──────────────────────────────────────────────────────────────


def retire(site: Site, id: str) -> Submitted:
    """End a site of this account's member for ever: one whose home is lost."""
    submitted = Submitted(id, f"site.retire:{id}")
    if is_open(site, submitted.intent):
        return submitted
    call = site.network().sites.retire(id)
    rehearse(site, call)
    return submit(site, submitted, call, "site.retired", {})


def orphans(network: Network, account: str) -> list[str]:
    """Standing sites of this account's member whose operator is an account that the member lost."""
    member = network.membership.member_of(account)
    found = []
    for id in network.sites.sites():
        site = network.sites.site(id)
        if site.member != member or site.until_block or site.operator.lower() == account.lower():
            continue
        if _member_of(network, site.operator) == member:
            found.append(id)
    return found


def _member_of(network: Network, account: str) -> str | None:
    """The member whose account it is or was."""
    from chain.errors import ContractRefused

    try:
        return network.membership.member_of(account)
    except ContractRefused:
        return None
