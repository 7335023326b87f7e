"""`member`, `network`: what the consortium is; admitting is the authority's affair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Group

from node.cli.frame import Place, command
from node.cli.signer import (
    DEFAULT_KEY,
    DEFAULT_NETWORK,
    DEFAULT_RPC,
    Authority,
    Key,
    NetworkPath,
    Rpc,
    open_authority,
)
from node.cli.tables import facts, rows, short
from node.errors import Invalid, Refused

if TYPE_CHECKING:
    from chain.calls import Call

member = typer.Typer(help="Members of the consortium.", no_args_is_help=True)

MemberId = Annotated[str, typer.Argument(help="The member's id or name.")]


def register(app: typer.Typer) -> None:
    app.add_typer(member, name="member")
    command(member, "admit")(admit)
    command(member, "suspend")(suspend)
    command(member, "reinstate")(reinstate)
    command(member, "expel")(expel)
    command(member, "list")(list_members)
    command(app, "network")(show_network)


def admit(
    place: Place,
    request: Annotated[
        Path | None,
        typer.Option(help="The institution's admission-request.json, which its `init` wrote."),
    ] = None,
    account: Annotated[
        str | None, typer.Option(help="Without a request: the institution's account.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Without a request: the institution's name.")
    ] = None,
    acceptance: Annotated[
        str | None,
        typer.Option(help="Without a request: the account's signed acceptance with nonce 0."),
    ] = None,
    rpc: Rpc = DEFAULT_RPC,
    key: Key = DEFAULT_KEY,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """Admit an institution that asked for it; one that is a member already stays what it is."""
    from chain.errors import ContractRefused

    admission = _admission(request, account, name, acceptance)
    authority = open_authority(rpc, key, network)
    membership = authority.network.membership
    try:
        found = membership.member_of(admission.account)
    except ContractRefused:
        _send(authority, membership.admit(*admission))
        found = membership.member_of(admission.account)
    _show(place, authority, found, "admitted")


def suspend(
    place: Place,
    id: MemberId,
    rpc: Rpc = DEFAULT_RPC,
    key: Key = DEFAULT_KEY,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """Suspend a member: its jobs stop, nothing new starts."""
    _change(place, open_authority(rpc, key, network), id, "suspend")


def reinstate(
    place: Place,
    id: MemberId,
    rpc: Rpc = DEFAULT_RPC,
    key: Key = DEFAULT_KEY,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """End a suspension."""
    _change(place, open_authority(rpc, key, network), id, "reinstate")


def expel(
    place: Place,
    id: MemberId,
    rpc: Rpc = DEFAULT_RPC,
    key: Key = DEFAULT_KEY,
    network: NetworkPath = DEFAULT_NETWORK,
) -> None:
    """Expel a member for good."""
    _change(place, open_authority(rpc, key, network), id, "expel")


def list_members(place: Place) -> None:
    """Members with their standing."""
    with place.client() as node:
        found = list(node.items("/v1/members"))
    columns = (
        ("member", lambda m: m["name"]),
        ("standing", lambda m: m["standing"]),
        ("account", lambda m: m["account"]),
        ("since block", lambda m: m["admitted_at"]),
        ("id", lambda m: m["id"]),
    )
    place.show(found, lambda: rows(found, columns, title="Members"))


def show_network(place: Place) -> None:
    """Contracts, algorithms, schemes and minimums that the consortium agreed on."""
    with place.client() as node:
        found = node.get("/v1/network")

    def render() -> Group:
        head = {
            name: found[name]
            for name in ("chain_id", "consortium", "authority", "head_block", "read_to_block")
        }
        algorithms = (
            ("algorithm", lambda a: a["name"]),
            ("code digest", lambda a: a["code_digest"]),
            ("allowed", lambda a: a["until_block"] == 0),
            ("same code here", lambda a: a["here"]),
        )
        agreed = {"schemes": ", ".join(found["schemes"]), **found["minimums"]}
        return Group(
            facts(head, title="The consortium"),
            facts(agreed),
            rows(found["algorithms"], algorithms),
            facts(found["contracts"]),
        )

    place.show(found, render)


class _Admission(NamedTuple):
    """What `Membership.admit` takes, in its order."""

    account: str
    name: str
    nonce: int
    acceptance: str


def _admission(
    request: Path | None, account: str | None, name: str | None, acceptance: str | None
) -> _Admission:
    """From a file or from the options; both at once would leave open which of them counts."""
    if request is None and account and name and acceptance:
        # An account is a member once: its id is the same however often this runs.
        return _Admission(account, name, 0, acceptance)
    if request is None or account or name or acceptance:
        raise Invalid(
            "InvalidRequest",
            "an admission is the institution's request, or its account, name and acceptance",
            allowed="--request FILE, or --account, --name and --acceptance",
        )
    from node.joining import AdmissionRequest

    try:
        asked = AdmissionRequest.parse(request.read_bytes())
    except FileNotFoundError as error:
        raise Invalid("InvalidRequest", f"there is no {request}") from error
    return _Admission(asked.account, asked.name, int(asked.nonce), asked.acceptance)


def _change(place: Place, authority: Authority, id: str, how: str) -> None:
    from node.registration import member_id_of

    found = member_id_of(authority.network, id)
    _send(authority, getattr(authority.network.membership, how)(found))
    _show(place, authority, found, how)


def _send(authority: Authority, call: Call) -> None:
    network = authority.network
    if network.consortium.authority() == network.timelock.address:
        raise Refused(
            "NotAuthority",
            "the members govern this consortium: no key can do this alone",
            found=authority.client.address,
            allowed=f"the members' vote, through {network.timelock.address}",
            hint=f"propose it: `fatechain proposal create {call.function} --title …`",
        )
    authority.client.simulate(call)  # a refusal is told with its reason, and costs nothing
    authority.client.transact(call)


def _show(place: Place, authority: Authority, id: str, what: str) -> None:
    membership = authority.network.membership
    found = membership.member(id)
    made: dict[str, Any] = {
        "id": id,
        "name": found.name,
        "account": found.account,
        "standing": str(membership.standing(id)),
    }
    place.show(made, lambda: facts(made, title=f"{what}: {found.name} ({short(id)})"))
