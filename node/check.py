"""Whether a site has what it needs to work, and what to do where something is missing.

    fatechain check        before the node runs, too
    GET /v1/check          of a running node

Every look is one function that yields what it found; one that cannot look because an earlier one
failed (no chain, no consortium) is left out, so that what is told is what is to be done next.
"""

from __future__ import annotations

import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anyio
from sqlalchemy import select

from node.arrival import orphaned
from node.errors import Conflict, NodeError
from node.identity import PURPOSES
from node.joining import FILE_NAME as REQUEST_FILE
from node.refusals import from_error
from node.registration import is_known, site_on_chain
from node.store import ChainTx, Proposal
from node.takeover import orphans
from node.votes import LOST

if TYPE_CHECKING:
    from chain.network import Network
    from node.site import Site

Status = Literal["ok", "warn", "fail"]
OK: Status = "ok"
WARN: Status = "warn"
FAIL: Status = "fail"

MIB = 1024 * 1024
OTHERS = 0o077  # what a group and all others may do with a folder
DISK_NEEDED, DISK_WANTED = 200 * MIB, 2048 * MIB
REGISTER_GAS = 1_500_000  # a registration with two keys takes less
RESERVE = 20  # registrations' worth of gas that a working site should have
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 5.0, 30.0  # requests are refused beyond 60 s
CHAIN_AHEAD_SECONDS = 30.0
PARTNERS_ASKED = 3
WEI = 10**18


@dataclass(frozen=True)
class Item:
    """One thing that was looked at: what was found, and what to do about it."""

    name: str
    status: Status
    found: str
    todo: str | None = None


@dataclass(frozen=True)
class Report:
    items: tuple[Item, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails; warnings are no failures."""
        return all(item.status != FAIL for item in self.items)

    def to_json(self) -> dict[str, Any]:
        return {"ok": self.ok, "items": [asdict(item) for item in self.items]}


def check_home(home: Path, *, clock: Callable[[], float] = time.time) -> Report:
    """The report for a home, whether its node runs or not; opens what it can."""
    from node.site import Site

    try:
        with Site.open(home) as site:
            return check(site, clock=clock)
    except NodeError as error:
        what = {"DatabaseUnavailable": "database", "InvalidSettings": "settings"}
        return Report((_failed(what.get(error.code, "keys"), error),))


def check(site: Site, *, clock: Callable[[], float] = time.time) -> Report:
    """Look at everything; raises nothing that the site or its surroundings cause."""
    return Report(tuple(_Checker(site, clock).items()))


class _Checker:
    def __init__(self, site: Site, clock: Callable[[], float]) -> None:
        self.site = site
        self.settings = site.settings
        self.clock = clock
        self.account = site.identity.address

    def items(self) -> Iterator[Item]:
        yield from self.looked("home", self.home)
        yield from self.looked("disk", self.disk)
        reachable = list(self.looked("chain", self.chain))
        yield from reachable
        if all(item.status != FAIL for item in reachable):
            yield from self.looked("clock", self.clock_against_chain)
            yield from self.consortium()
        yield from self.looked("processes", self.processes)
        yield from self.looked("transactions", self.transactions)

    def looked(self, name: str, look: Callable[[], Iterator[Item]]) -> Iterator[Item]:
        """What a look finds; where it breaks off, a failure that says why."""
        from chain.errors import ChainError

        try:
            yield from look()
        except (NodeError, ChainError) as error:
            yield _failed(name, from_error(error))
        except OSError as error:
            yield Item(name, FAIL, error.strerror or type(error).__name__)

    # ── The machine ──────────────────────────────────────────────────────────────────────────

    def home(self) -> Iterator[Item]:
        open_ = [
            str(path.relative_to(self.settings.home)) or "."
            for path in (self.settings.home, self.settings.keys, self.settings.secrets)
            if stat.S_IMODE(path.stat().st_mode) & OTHERS
        ]
        if open_:
            todo = f"chmod go-rwx {self.settings.home}/{{.,keys,secrets}}"
            yield Item("home", FAIL, f"others may read {', '.join(open_)}", todo)
        else:
            yield Item("home", OK, "keys open with the password, and only you may read them")

    def disk(self) -> Iterator[Item]:
        free = shutil.disk_usage(self.settings.home).free
        found = f"{free / MIB:,.0f} MiB free"
        if free < DISK_NEEDED:
            yield Item("disk", FAIL, found, f"make room: {DISK_NEEDED // MIB} MiB are needed")
        elif free < DISK_WANTED:
            yield Item("disk", WARN, found, f"{DISK_WANTED // MIB} MiB let a job's rows lie here")
        else:
            yield Item("disk", OK, found)

    # ── The chain ────────────────────────────────────────────────────────────────────────────

    def chain(self) -> Iterator[Item]:
        client = self.site.client()
        head, chain_id = client.head(), client.chain_id
        found = f"chain {chain_id} answers at block {head.number}"
        age, allowed = self.clock() - head.timestamp, self.settings.staleness_seconds
        if age > allowed:
            todo = "the node refuses work until the chain makes blocks again"
            yield Item("chain", FAIL, f"{found}, which is {age:.0f} s old", todo)
        else:
            yield Item("chain", OK, found)

    def clock_against_chain(self) -> Iterator[Item]:
        ahead = self.site.client().head().timestamp - self.clock()
        if ahead > CHAIN_AHEAD_SECONDS:
            found = f"this machine is {ahead:.0f} s behind the newest block"
            yield Item("clock", FAIL, found, "set the clock by NTP")
        else:
            yield Item("clock", OK, "not behind the chain")

    def consortium(self) -> Iterator[Item]:
        from chain.errors import ChainError

        try:
            network = self.site.network()
        except (NodeError, ChainError) as error:
            yield _failed("consortium", from_error(error))
            return
        yield Item("consortium", OK, f"stands at {network.consortium.address}")
        yield from self.looked("powers", lambda: self.powers(network))
        yield from self.looked("account", lambda: self.funds(network))
        yield from self.looked("algorithms", lambda: self.algorithms(network))
        yield from self.looked("pause", lambda: self.pause(network))
        member = list(self.looked("member", lambda: self.member(network)))
        yield from member
        if any(item.status == FAIL for item in member):
            return
        registered = list(self.looked("site", lambda: self.registered(network)))
        yield from registered
        if any(item.status == FAIL for item in registered):
            return
        yield from self.looked("keys", lambda: self.keys(network))
        yield from self.looked("attestations", lambda: self.attestations(network))
        yield from self.looked("endpoint", lambda: self.endpoint(network))

    def powers(self, network: Network) -> Iterator[Item]:
        """Whether anybody stands above the members' votes."""
        from chain.powers import powers

        hidden = list(powers(network, self.settings.from_block).hidden)
        governing, timelock = network.consortium.authority(), network.timelock.address
        if governing != timelock and network.consortium.is_founded():
            hidden.append(f"the authority is {governing}, and not the members' timelock")
        if hidden:
            todo = "trust no vote before the members moved the authority away from it"
            yield Item("powers", FAIL, "; ".join(hidden), todo)
        elif governing != timelock:
            todo = "whoever holds it hands it over: fatechain found"
            yield Item("powers", WARN, f"the members do not govern yet: {governing} does", todo)
        else:
            yield Item("powers", OK, "nobody stands above the members' votes")

    def funds(self, network: Network) -> Iterator[Item]:
        has = network.client.balance(self.account)
        needed = REGISTER_GAS * network.client.fees().max_fee
        found = f"{self.account} has {_ether(has)} ether"
        if has < needed:
            todo = (
                f"send at least {_ether(needed - has)} ether to it; "
                f"on a testnet: fatechain fund --home {self.settings.home}"
            )
            yield Item("account", FAIL, found, todo)
        elif has < RESERVE * needed:
            todo = f"send more before it is empty: {_ether(RESERVE * needed)} last for a while"
            yield Item("account", WARN, found, todo)
        else:
            yield Item("account", OK, found)

    def algorithms(self, network: Network) -> Iterator[Item]:
        from ml.algorithm import catalogue, code_digest

        here = {name: code_digest(name) for name in catalogue()}
        allowed = [
            name for name, code in here.items() if network.consortium.is_algorithm_allowed(code)
        ]
        missing = sorted(here.keys() - set(allowed))
        if not allowed:
            todo = "install the version that the consortium runs; see `fatechain network`"
            yield Item("algorithms", FAIL, "the consortium allows no code that is here", todo)
        elif missing:
            todo = "the consortium allows other code, or none, under these names"
            yield Item("algorithms", WARN, f"not allowed: {', '.join(missing)}", todo)
        else:
            yield Item("algorithms", OK, f"allowed: {', '.join(sorted(allowed))}")

    def pause(self, network: Network) -> Iterator[Item]:
        if network.brake.is_paused():
            until = network.brake.paused_until()
            left = max(0, until - network.client.head().timestamp)
            found = f"the consortium's brake is pulled for {left} s more: nothing runs"
            yield Item("pause", WARN, found, "see `fatechain brake status`")

    # ── The institution and its site ─────────────────────────────────────────────────────────

    def member(self, network: Network) -> Iterator[Item]:
        from chain.errors import ContractRefused

        try:
            id = network.membership.member_of(self.account)
        except ContractRefused:
            found, todo = self._asked()
            yield Item("member", FAIL, f"{self.account} is no member's account{found}", todo)
            return
        member, standing = network.membership.member(id), network.membership.standing(id)
        if not network.membership.is_active_account(self.account):
            todo = "nothing may start until the members vote otherwise"
            if member.account.lower() != self.account.lower():
                todo = f"the members gave {member.name} the account {member.account}"
            yield Item("member", FAIL, f"{member.name} is {standing}", todo)
        else:
            yield Item("member", OK, f"{member.name} is {standing}")

    def _asked(self) -> tuple[str, str]:
        """How far the admission is, as this node has read it, and what is to be done."""
        query = (
            select(Proposal)
            .where(Proposal.kind == "admit", Proposal.created_block.is_not(None))
            .order_by(Proposal.created_block.desc())
        )
        with self.site.store.read() as session:
            rows = list(session.scalars(query))
        votes = [row for row in rows if self._is_about_us(row)]
        if votes and votes[0].state in LOST:
            todo = "find out why; a member may sponsor the same request again"
            return f"; the vote on its admission was lost ({votes[0].state}): {votes[0].id}", todo
        if votes:
            todo = "wait for the members: this site registers itself when the vote is executed"
            return f"; its admission is before the members ({votes[0].state}): {votes[0].id}", todo
        todo = "ask for admission: fatechain join --sponsor URL"
        if (self.settings.home / REQUEST_FILE).is_file():
            todo = f"a member proposes {REQUEST_FILE}, and the members vote; or {todo}"
        return "", todo

    def _is_about_us(self, row: Proposal) -> bool:
        params = row.params or {}
        return str(params.get("account", "")).lower() == self.account.lower()

    def registered(self, network: Network) -> Iterator[Item]:
        id = self.settings.site_id or site_on_chain(network, self.account)[0]
        if not is_known(network, id):
            todo = "start the node: it registers the site by itself (fatechain up)"
            if not self.settings.roles:
                todo = "fatechain site register --role data-owner …"
            if lost := orphans(network, self.account):
                todo = orphaned(lost[0]).hint or todo
            yield Item("site", FAIL, "not registered on the chain", self._refusal() or todo)
            return
        found = network.sites.site(id)
        if found.until_block:
            yield Item("site", FAIL, f"{found.name} retired at block {found.until_block}")
        elif found.operator.lower() != self.account.lower():
            todo = "this home's account speaks for it no more"
            yield Item("site", FAIL, f"{found.name} is operated by {found.operator}", todo)
        elif found.endpoint.rstrip("/") != self.settings.endpoint:
            todo = f"fatechain site endpoint {self.settings.endpoint}"
            yield Item(
                "site",
                FAIL,
                f"registered at {found.endpoint}; the settings say {self.settings.endpoint}",
                todo,
            )
        else:
            yield Item("site", OK, f"{found.name} is registered at {found.endpoint}")

    def _refusal(self) -> str | None:
        """Why the registration does not go through, if it was tried."""
        query = (
            select(ChainTx)
            .where(ChainTx.intent.like("site.register:%"), ChainTx.error.is_not(None))
            .order_by(ChainTx.id.desc())
            .limit(1)
        )
        with self.site.store.read() as session:
            row = session.scalar(query)
        return None if row is None or row.error is None else str(row.error["detail"])

    def keys(self, network: Network) -> Iterator[Item]:
        head = network.client.head().number
        held = {key.id: key for key in network.sites.keys(self.site.id)}
        for purpose in PURPOSES:
            name, key = f"{purpose} key", held.get(self.site.key_id(purpose))
            todo = f"fatechain key rotate {purpose}"
            if key is None:
                yield Item(name, FAIL, "the key in this home is not on the chain", todo)
            elif not key.is_valid_at(head):
                yield Item(name, FAIL, f"ended at block {key.until_block}", todo)
            elif not network.sites.proves(self.site.id, key):
                yield Item(name, FAIL, "registered without a proof that this site holds it", todo)
            else:
                yield Item(name, OK, f"stands since block {key.from_block}, and is proven")

    def attestations(self, network: Network) -> Iterator[Item]:
        from chain.errors import ContractRefused

        member = network.sites.member_of(self.site.id)
        missing = []
        for kind in network.attestations.required_kinds():
            try:
                held = network.attestations.is_attested(member, kind)
            except ContractRefused:
                held = False
            if not held:
                missing.append(kind)
        if missing:
            todo = "ask an issuer that the consortium names; see `fatechain attest list`"
            yield Item("attestations", FAIL, f"required and missing: {', '.join(missing)}", todo)

    def endpoint(self, network: Network) -> Iterator[Item]:
        """A partner's node looks at ours; its clock is compared on the way."""
        partners = self._partners(network)
        silent = []
        for partner in partners[:PARTNERS_ASKED]:
            asked = self.clock()
            try:
                told = anyio.run(self.site.peers.reachable, partner)
            except NodeError as error:
                silent.append(error.detail)
                continue
            answered = self.clock()
            yield self._reached(told, network.sites.site(partner).name)
            yield self._skew(told, (asked + answered) / 2)
            return
        found = "; ".join(silent) if silent else "there is no other site to look from"
        todo = "start another site's node, then look again" if silent else None
        yield Item("endpoint", WARN, found[:300], todo)

    def _partners(self, network: Network) -> list[str]:
        head = network.client.head().number
        return [
            id
            for id in network.sites.sites(block=head)
            if id != self.site.id and network.sites.is_active(id, block=head)
        ]

    def _reached(self, told: dict[str, Any], partner: str) -> Item:
        endpoint = self.settings.endpoint
        if told.get("reachable") is True:
            return Item("endpoint", OK, f"{partner} reaches this node at {endpoint}")
        found = f"{partner} does not reach {endpoint}: {str(told.get('detail'))[:100]}"
        todo = "start the node, and let the network lead from outside to it"
        return Item("endpoint", FAIL, found, todo)

    def _skew(self, told: dict[str, Any], ours: float) -> Item:
        theirs = told.get("time")
        if not isinstance(theirs, int | float):
            return Item("clock of a partner", WARN, "it did not tell its time")
        away = abs(theirs - ours)
        found = f"{away:.0f} s from ours"
        todo = "set the clocks of both machines by NTP"
        if away > CLOCK_FAIL_SECONDS:
            return Item("clock of a partner", FAIL, found, todo)
        if away > CLOCK_WARN_SECONDS:
            return Item("clock of a partner", WARN, found, todo)
        return Item("clock of a partner", OK, found)

    # ── The node ─────────────────────────────────────────────────────────────────────────────

    def processes(self) -> Iterator[Item]:
        from node.api.views.health import show

        yield self._listens()
        parts = show(self.site).parts or {}
        for name in ("broker", "sync", "worker"):
            part = parts.get(name)
            if part is None or not part.ok:
                found = "not known" if part is None else part.detail
                yield Item(name, FAIL, found, "start the node: fatechain up")
            else:
                yield Item(name, OK, part.detail)

    def _listens(self) -> Item:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(  # noqa: S104 - compared, not bound
            self.settings.host, self.settings.host
        )
        try:
            socket.create_connection((host, self.settings.port), 2).close()
        except OSError:
            found = f"nothing listens at {host}, port {self.settings.port}"
            return Item("api", FAIL, found, "start the node: fatechain up")
        return Item("api", OK, f"listens at {host}, port {self.settings.port}")

    def transactions(self) -> Iterator[Item]:
        query = select(ChainTx).where(ChainTx.state == "WAITING", ChainTx.error.is_not(None))
        with self.site.store.read() as session:
            stuck = list(session.scalars(query.order_by(ChainTx.id).limit(1)))
        for row in stuck:
            assert row.error is not None
            found = f"{row.intent} waits: {row.error['detail']}"
            yield Item("transactions", WARN, found, "see `fatechain transaction list`")


def _failed(name: str, error: NodeError) -> Item:
    hint = error.hint
    if isinstance(error, Conflict) and error.code == "NotConfigured":
        hint = "make the home again with `fatechain init --network`, or set consortium"
    return Item(name, FAIL, error.detail, hint)


def _ether(wei: int) -> str:
    return f"{wei / WEI:.6f}".rstrip("0").rstrip(".")
