"""`person`, `api-key`, `sign-in`: who may act at a node, and with what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node import credentials, siwe
from node.cli.frame import Place, command, own_address
from node.cli.signer import account_of
from node.cli.tables import at, facts, rows
from node.client import Client
from node.errors import Failed, Refused
from node.origins import origin_of

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

person = typer.Typer(help="Who may act at this site.", no_args_is_help=True)
api_key = typer.Typer(help="Credentials of programs.", no_args_is_help=True)

DAY = 24 * 3600
SESSION_COOKIE = "fatechain_session"

Address = Annotated[str, typer.Argument(help="The account that the person signs with.")]
RoleNames = Annotated[
    list[str],
    typer.Option(
        "--role", help="operator, data-owner, data-scientist, delegate or auditor; repeatable."
    ),
]
Days = Annotated[int | None, typer.Option(min=1, help="End it after these days.")]
Key = Annotated[
    str,
    typer.Option(
        "--key",
        help="dev:N for a testnet's account, or the path of a keystore (password in "
        "FATECHAIN_DEPLOYER_PASSWORD_FILE).",
    ),
]


def register(app: typer.Typer) -> None:
    app.add_typer(person, name="person")
    command(person, "add")(add_person)
    command(person, "roles")(change_roles)
    command(person, "list")(list_people)
    command(person, "disable")(disable_person)
    app.add_typer(api_key, name="api-key")
    command(api_key, "create")(create_key)
    command(api_key, "list")(list_keys)
    command(api_key, "revoke")(revoke_key)
    command(app, "sign-in")(sign_in)
    command(app, "sign-out")(sign_out)
    command(app, "whoami")(whoami)


# ── People ───────────────────────────────────────────────────────────────────────────────────


def add_person(
    place: Place,
    address: Address,
    name: Annotated[str, typer.Option(help="What people call this person.")],
    role: RoleNames,
    days: Days = None,
) -> None:
    """Let a person act at this site with these roles."""
    body = {"address": address, "name": name, "roles": role, "until": _until(days)}
    with place.client() as node:
        made = node.post("/v1/people", body)
    place.show(made, lambda: _person(made))


def change_roles(place: Place, address: Address, role: RoleNames, days: Days = None) -> None:
    """Give a person these roles instead of those there were; it holds at once."""
    with place.client() as node:
        made = node.post(f"/v1/people/{address}/roles", {"roles": role, "until": _until(days)})
    place.show(made, lambda: _person(made))


def list_people(place: Place) -> None:
    """Who may act at this site, and who might."""
    with place.client() as node:
        found = list(node.items("/v1/people"))
    columns = (
        ("name", lambda p: p["name"]),
        ("roles", lambda p: ", ".join(p["roles"])),
        ("state", lambda p: p["state"]),
        ("until", lambda p: at(p["until"])),
        ("account", lambda p: p["address"]),
    )
    place.show(found, lambda: rows(found, columns, title="People"))


def disable_person(place: Place, address: Address) -> None:
    """End what a person may do here, with every session and key, at once."""
    with place.client() as node:
        made = node.post(f"/v1/people/{address}/disable")
    place.show(made, lambda: _person(made))


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────


def create_key(
    place: Place,
    name: Annotated[str, typer.Option(help="What it is for.")],
    role: RoleNames,
    owner: Annotated[
        str, typer.Option("--person", help="The account of the person it belongs to.")
    ],
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it lives.")] = 30,
) -> None:
    """Make an API key for a person, with the operator's token. It is shown this once."""
    body = {"name": name, "roles": role, "expires_in": days * DAY, "person": owner}
    with place.client() as node:
        made = node.post("/v1/api-keys", body)
    place.show(made, lambda: facts(_at(made, "expires_at"), title="Keep it: it is not shown again"))


def list_keys(place: Place) -> None:
    """One's own keys; for an operator everybody's."""
    with place.client() as node:
        found = list(node.items("/v1/api-keys", all=True))
    columns = (
        ("key", lambda k: k["id"]),
        ("name", lambda k: k["name"]),
        ("roles", lambda k: ", ".join(k["roles"])),
        ("state", lambda k: k["state"]),
        ("until", lambda k: at(k["expires_at"])),
        ("last used", lambda k: at(k["last_used_at"])),
        ("person", lambda k: k["person"]),
    )
    place.show(found, lambda: rows(found, columns, title="API keys"))


def revoke_key(
    place: Place, id: Annotated[str, typer.Argument(help="The key's id: what follows fck_.")]
) -> None:
    """End a key at once."""
    with place.client() as node:
        made = node.post(f"/v1/api-keys/{id}/revoke")
    place.show(made, lambda: facts(_at(made, "created_at", "expires_at", "last_used_at")))


# ── Signing in from a terminal ───────────────────────────────────────────────────────────────


def sign_in(
    place: Place,
    key: Key,
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="Only these of one's roles; repeatable. Default: all."),
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=24, help="How long it is good for.")] = 12,
    domain: Annotated[
        str | None,
        typer.Option(help="Host and port by which the node calls itself, if not those of --url."),
    ] = None,
) -> None:
    """Sign in with an account and keep a short-lived API key for commands with --url."""
    url, own = _node(place)
    account = account_of(key)
    made = _make_key(url, domain or own, account, role, hours)
    file = credentials.keep(url, made)
    shown = {
        "node": url,
        "account": made["person"],
        "roles": made["roles"],
        "expires_at": made["expires_at"],
        "kept_in": str(file),
    }
    place.show(shown, lambda: facts(_at(shown, "expires_at"), title="Signed in"))


def sign_out(place: Place) -> None:
    """Revoke the API key that `sign-in` keeps for the node, and forget it."""
    url, _ = _node(place)
    kept = credentials.forget(url)
    if kept is not None:
        with Client(url, kept["key"]) as node:
            node.post(f"/v1/api-keys/{kept['id']}/revoke")
    done = {"node": url, "revoked": None if kept is None else kept["id"]}
    place.show(done, lambda: facts(done, title="Signed out"))


def whoami(place: Place) -> None:
    """Who one is to the node, with which roles."""
    with place.client() as node:
        found = node.get("/v1/me")
    place.show(found, lambda: facts(found))


def _node(place: Place) -> tuple[str, str]:
    """The node's address, and host and port by which it must call itself."""
    if place.url is not None:
        return place.url.rstrip("/"), _host(place.url)
    settings = place.settings()
    return own_address(settings), _host(settings.endpoint)


def _make_key(
    url: str, domain: str, account: LocalAccount, roles: list[str] | None, hours: int
) -> dict[str, Any]:
    """An API key by way of a session, which ends at once.  Raises `Refused` (``AnotherNode``)."""
    from eth_account.messages import encode_defunct

    with Client(url) as node:
        terms = node.get("/v1/sign-in/nonce")
        own = origin_of(terms["uri"])
        # A node may hand on another node's nonce: what we sign must be for the one we meant.
        if terms["domain"] != domain or _host(own) != domain:
            raise Refused(
                "AnotherNode",
                "the node calls itself by another name than the one you gave",
                found=terms["domain"],
                allowed=domain,
                hint="if this is right, repeat it with --domain",
            )
        text = siwe.Message(
            domain=domain,
            address=account.address,
            uri=terms["uri"],
            chain_id=terms["chain_id"],
            nonce=terms["nonce"],
            issued_at=siwe.written(time.time()),
            statement=siwe.STATEMENT,
        ).text()
        signature = account.sign_message(encode_defunct(text=text)).signature
    page = {"Origin": own, "X-FateChain-Request": "1"}
    with Client(url, headers=page) as node:
        body = {"message": text, "signature": "0x" + bytes(signature).hex()}
        person = node.post("/v1/sign-in", body)
        cookie = node.cookie(SESSION_COOKIE)
    if cookie is None:
        raise Failed("InternalError", "the node began no session")
    with Client(url, headers=page | {"Cookie": f"{SESSION_COOKIE}={cookie}"}) as node:
        name = f"signed in from a terminal, {siwe.written(time.time())}"
        asked = {"name": name, "roles": roles or person["roles"], "expires_in": hours * 3600}
        try:
            made: dict[str, Any] = node.post("/v1/api-keys", asked)
        finally:
            node.post("/v1/sign-out")
    return made


def _host(url: str) -> str:
    return origin_of(url).partition("://")[2]


def _until(days: int | None) -> int | None:
    return None if days is None else int(time.time()) + days * DAY


def _person(shown: dict[str, Any]) -> Any:
    return facts(_at(shown, "until", "disabled_at", "created_at"), title=shown["name"])


def _at(shown: dict[str, Any], *times: str) -> dict[str, Any]:
    return shown | {name: at(shown[name]) for name in times if name in shown}
