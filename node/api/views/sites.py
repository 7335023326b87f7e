"""Sites and members of the consortium, as the chain has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from node.api.pages import Page, from_cursor, to_cursor
from node.api.views.model import Shown
from node.api.views.names import Names

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site

MAX_LOOKS = 500
T = TypeVar("T")


class SiteKey(Shown):
    """Valid in blocks [from_block, until_block); until_block 0: it stands.

    `proven`: it signed that it is this site's. A "request", "audit" or "anchor" key that did not
    is none.
    """

    id: str
    purpose: str
    public_key: str
    proven: bool
    from_block: int
    until_block: int


class SiteMember(Shown):
    id: str
    name: str | None
    standing: str


class SiteShown(Shown):
    """`active`: it stands, its member is active, and it holds a valid request key."""

    id: str
    name: str
    member: SiteMember
    operator: str
    endpoint: str
    roles: list[str]
    active: bool
    mine: bool
    keys: list[SiteKey]
    from_block: int
    until_block: int


class Member(Shown):
    """Blocks are facts; 0 where it did not happen."""

    id: str
    name: str
    account: str
    standing: str
    admitted_at: int
    suspended_at: int
    expelled_at: int


def show(network: Network, id: str, names: Names, own: str | None) -> SiteShown:
    """Raises `chain.errors.ContractRefused` (SiteUnknown)."""
    from chain.sites import SiteRole

    site = network.sites.site(id)
    names.learn(id, site.name)
    return SiteShown(
        id=id,
        name=site.name,
        member=SiteMember(
            id=site.member,
            name=names.member(site.member).name,
            standing=network.membership.standing(site.member),
        ),
        operator=site.operator,
        endpoint=site.endpoint,
        roles=[
            role.name.lower().replace("_", "-")
            for role in SiteRole
            if role in site.roles and role.name is not None
        ],
        active=network.sites.is_active(id),
        mine=id == own,
        keys=[
            SiteKey(
                id=key.id,
                purpose=key.purpose,
                public_key=key.public_key,
                proven=network.sites.proves(id, key),
                from_block=key.from_block,
                until_block=key.until_block,
            )
            for key in network.sites.keys(id)
        ],
        from_block=site.from_block,
        until_block=site.until_block,
    )


def page(
    network: Network, names: Names, own: str | None, *, limit: int, cursor: str | None = None
) -> Page[SiteShown]:
    """In the order in which they were registered."""
    ids, more = slice_of(network.sites.sites(), limit, cursor)
    return Page(items=[show(network, id, names, own) for id in ids], next=more)


def members(network: Network, names: Names) -> list[Member]:
    """In the order in which they were admitted."""
    return [member(network, id, names) for id in network.membership.members()]


def members_page(
    network: Network,
    names: Names,
    *,
    limit: int,
    cursor: str | None = None,
    standing: str | None = None,
) -> Page[Member]:
    """In the order in which they were admitted; of one standing, or of every."""
    found, more = chosen_of(
        network.membership.members(),
        limit,
        cursor,
        lambda id: member(network, id, names),
        lambda one: standing in (None, one.standing),
    )
    return Page(items=found, next=more)


def member(network: Network, id: str, names: Names) -> Member:
    """Raises `chain.errors.ContractRefused` (MembershipUnknown)."""
    found = network.membership.member(id)
    names.learn(id, found.name)
    return Member(
        id=id,
        name=found.name,
        account=found.account,
        standing=network.membership.standing(id),
        admitted_at=found.admitted_at,
        suspended_at=found.suspended_at,
        expelled_at=found.expelled_at,
    )


def is_own(site: Site, network: Network, member: str) -> bool:
    """Whether this site's account is the member's."""
    account = network.membership.member(member).account
    return account.lower() == site.identity.address.lower()


def slice_of(ids: tuple[str, ...], limit: int, cursor: str | None) -> tuple[list[str], str | None]:
    """A page of a list that only grows at its end, and the cursor of the next one."""
    position = from_cursor(cursor, int)
    start = max(0, int(position[0])) if position else 0
    end = start + limit
    return list(ids[start:end]), to_cursor(end) if end < len(ids) else None


def chosen_of(
    ids: tuple[str, ...],
    limit: int,
    cursor: str | None,
    show: Callable[[str], T],
    is_wanted: Callable[[T], bool],
) -> tuple[list[T], str | None]:
    """The next `limit` that are wanted of such a list, and the cursor behind the last looked at.

    A page may hold fewer, or none, and lead on: `MAX_LOOKS` bounds what one request asks.
    """
    position = from_cursor(cursor, int)
    start = max(0, int(position[0])) if position else 0
    found: list[T] = []
    for at in range(start, len(ids)):
        if len(found) == limit or at - start == MAX_LOOKS:
            return found, to_cursor(at)
        one = show(ids[at])
        if is_wanted(one):
            found.append(one)
    return found, None
