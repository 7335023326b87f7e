"""Standing rules: a data owner's word in advance on which jobs need no person to approve them.

A rule is data: conditions that all must hold, a last day, and so many approvals a day.  The oldest
rule that matches approves.  It approves like a person does, through `node.jobs.approve`: admission
and the site's policy are asked as ever, and a rule can allow nothing that they refuse.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from node.admission import Facts, members_with_data
from node.audit.entries import acting, record
from node.errors import Conflict, Invalid, NotFound
from node.specification import (
    ColumnName,
    Duplicates,
    Id,
    Kind,
    Learner,
    Specification,
    Word,
)
from node.store import ApprovalRule, RuleUse

if TYPE_CHECKING:
    from node.site import Site

MAX_RULES = 100
LONGEST_SECONDS = 366 * 24 * 3600.0  # nobody's word in advance holds longer than a year


class Conditions(BaseModel):
    """What a job must be for a rule to approve it; null: any.

    `proposers` are members, `algorithms` code digests, `datasets` those of this site.
    `max_products` bounds the vectors that this site would answer, `min_parties` counts members
    that take part otherwise than as arbiter.

    How rows are matched is as it always was unless the rule names more: in a training or
    prediction, by the id columns, each id once, all learn what is common.  `match_by` names all
    columns of this site, its id column too, that a job may match by instead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposers: tuple[Id, ...] | None = Field(default=None, min_length=1, max_length=64)
    algorithms: tuple[Id, ...] | None = Field(default=None, min_length=1, max_length=64)
    purposes: tuple[Word, ...] | None = Field(default=None, min_length=1, max_length=64)
    datasets: tuple[Id, ...] | None = Field(default=None, min_length=1, max_length=64)
    max_products: int | None = Field(default=None, ge=0, lt=2**53)
    min_parties: int = Field(default=2, ge=1, le=16)
    kinds: tuple[Kind, ...] = Field(default=("train", "predict"), min_length=1, max_length=4)
    results: tuple[Learner, ...] = Field(default=("all",), min_length=1, max_length=2)
    duplicates: tuple[Duplicates, ...] = Field(default=("refuse",), min_length=1, max_length=2)
    match_by: tuple[ColumnName, ...] | None = Field(default=None, min_length=1, max_length=64)
    max_per_day: int = Field(default=10, ge=1, le=10_000)


@dataclass(frozen=True)
class Rule:
    """A rule as it stands; ``until`` is in Unix seconds, exclusive."""

    id: str
    name: str
    until: float
    conditions: Conditions


@dataclass(frozen=True)
class Mismatch:
    """The condition that does not hold; ``str()`` is a sentence for a person."""

    code: str
    text: str
    values: Mapping[str, str | int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text.format(**self.values)


def matches(rule: Rule, facts: Facts, now: float) -> Mismatch | None:
    """Why the rule does not approve the job; None: it does.  Pure."""
    wanted = rule.conditions
    if now >= rule.until:
        return Mismatch("ended", "the rule has ended")
    view = facts.views[-1] if facts.views else None
    if view is None or view.job is None:
        return Mismatch("unknown", "the chain does not tell what the job is")
    job = view.job
    if facts.specification is None:
        return Mismatch("specification", "the specification has not arrived")
    mine = {use.dataset for use in view.uses if use.holder == facts.me}
    for code, what, found, allowed in (
        ("proposer", "the proposer", {job.member}, wanted.proposers),
        ("algorithm", "the algorithm", {job.algorithm}, wanted.algorithms),
        ("purpose", "the purpose", {job.purpose}, wanted.purposes),
        ("dataset", "a dataset", mine, wanted.datasets),
    ):
        if allowed is not None and (others := sorted(found - set(allowed))):
            text = f"{what} is {{found}}, which the rule does not name"
            return Mismatch(code, text, {"found": others[0]})
    if wanted.max_products is not None and facts.products > wanted.max_products:
        text = "{found} products are asked for; the rule allows {allowed}"
        values = {"found": facts.products, "allowed": wanted.max_products}
        return Mismatch("products", text, values)
    if (other := _matching(wanted, facts.specification, facts.me)) is not None:
        return other
    members = members_with_data(view)
    if members < wanted.min_parties:
        text = "{found} members take part; the rule asks for {allowed}"
        return Mismatch("members", text, {"found": members, "allowed": wanted.min_parties})
    return None


def _matching(wanted: Conditions, spec: Specification, me: str) -> Mismatch | None:
    """What of the kind and of the row matching the rule does not name."""
    for code, found, allowed in (
        ("kind", spec.kind, wanted.kinds),
        ("result", spec.psi.result, wanted.results),
        ("duplicates", spec.psi.duplicates, wanted.duplicates),
    ):
        if found not in allowed:
            text = f"the job's {code} is {{found}}, which the rule does not name"
            return Mismatch(code, text, {"found": found})
    if not spec.psi.columns:
        return None
    used = spec.columns_of(me) if spec.party(me) is not None else ()
    mine = [column for column in used if column not in (wanted.match_by or ())]
    if wanted.match_by is None or mine:
        text = "rows are matched by {found}, which the rule does not name"
        return Mismatch("columns", text, {"found": mine[0] if mine else "columns of others"})
    return None


# ── The rules of a site ──────────────────────────────────────────────────────────────────────


def add(site: Site, name: str, conditions: Conditions, until: float) -> Rule:
    """Let jobs be approved without asking until then; raises `Invalid`, `Conflict`."""
    now = time.time()
    if not now < until <= now + LONGEST_SECONDS:
        raise Invalid(
            "InvalidRequest",
            "a rule ends in the future, within a year",
            found=until,
            allowed=f"up to {now + LONGEST_SECONDS:.0f}",
        )
    row = ApprovalRule(
        name=name,
        conditions=conditions.model_dump(mode="json"),
        created_by=acting(),
        until=until,
    )
    with site.store.begin() as session:
        if len(in_force(session, now)) >= MAX_RULES:
            raise Conflict(
                "Conflict",
                "this site has as many rules as can be kept in mind",
                allowed=MAX_RULES,
                hint="remove one with `fatechain rule remove`",
            )
        session.add(row)
        session.flush()
        # Times as text: an entry's numbers must be exact for everybody who hashes them.
        data = {"name": name, "until": _day(until), "conditions": row.conditions}
        record(session, "rule.added", row.id, data, acting())
    return _rule(row)


def remove(site: Site, rule_id: str) -> None:
    """End a rule; what it approved stands.  Raises `NotFound`; a second time changes nothing."""
    with site.store.begin() as session:
        row = session.get(ApprovalRule, rule_id)
        if row is None:
            raise NotFound("NotFound", "this site has no such rule", found=rule_id)
        if row.removed_at is None:
            row.removed_at, row.removed_by = time.time(), acting()
            record(session, "rule.removed", rule_id, {"name": row.name}, acting())


def in_force(session: Session, now: float) -> Sequence[Rule]:
    """The rules that approve, oldest first."""
    query = (
        select(ApprovalRule)
        .where(ApprovalRule.removed_at.is_(None), ApprovalRule.until > now)
        .order_by(ApprovalRule.created_at, ApprovalRule.id)
    )
    return [_rule(row) for row in session.scalars(query)]


def take_use(session: Session, rule: Rule, now: float) -> None:
    """Count one approval in the caller's transaction; of all who try at once, so many succeed as
    the rule allows a day.  Raises `Conflict` (``RuleUsedUp``)."""
    day, limit = _day(now), rule.conditions.max_per_day
    if session.get(RuleUse, (rule.id, day)) is None:
        try:
            with session.begin_nested():
                session.add(RuleUse(rule_id=rule.id, day=day, used=0))
        except IntegrityError:
            session.expire_all()  # another process opened the day
    where = (RuleUse.rule_id == rule.id, RuleUse.day == day, RuleUse.used < limit)
    counted = session.execute(update(RuleUse).where(*where).values(used=RuleUse.used + 1))
    assert isinstance(counted, CursorResult)
    if counted.rowcount != 1:
        raise Conflict(
            "RuleUsedUp",
            f"rule {rule.name!r} has approved its {limit} jobs of {day}",
            found=limit,
            allowed=limit,
            hint="approve the job by hand, or wait until tomorrow (UTC)",
        )


def used_on(session: Session, rule_id: str, now: float) -> int:
    """Approvals that the rule gave today."""
    row = session.get(RuleUse, (rule_id, _day(now)))
    return 0 if row is None else row.used


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _rule(row: ApprovalRule) -> Rule:
    return Rule(row.id, row.name, row.until, Conditions.model_validate(row.conditions))
