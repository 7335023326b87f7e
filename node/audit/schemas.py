"""What the audit log tells: every kind of entry, with its fields and what they mean.

`node.audit.entries.record` takes nothing else.  ``python -m node.audit.schemas`` writes
docs/audit-events.md and the JSON Schemas of docs/audit-schemas/ from this; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Type:
    """A type of JSON values, and how to know one."""

    name: str
    holds: Callable[[Any], bool]


TEXT = Type("text", lambda value: isinstance(value, str))
WHOLE = Type("integer", lambda value: type(value) is int)
FLAG = Type("boolean", lambda value: type(value) is bool)
OBJECT = Type("object", lambda value: isinstance(value, dict))
LIST = Type("list", lambda value: isinstance(value, list | tuple))
WHOLE_OR_NULL = Type("integer or null", lambda value: value is None or type(value) is int)


@dataclass(frozen=True)
class Field:
    type: Type
    meaning: str
    optional: bool = False


@dataclass(frozen=True)
class Event:
    """A kind of entry: what its subject is, what it tells, and its fields."""

    subject: str
    meaning: str
    fields: Mapping[str, Field]
    _wanted: frozenset[str] = frozenset()

    @classmethod
    def of(cls, subject: str, meaning: str, /, **fields: Field) -> Event:
        # `from` is no name of an argument in Python; `from_` stands for it.
        named = {name.removesuffix("_"): field for name, field in fields.items()}
        wanted = frozenset(name for name, field in named.items() if not field.optional)
        return cls(subject, meaning, named, wanted)

    def check(self, kind: str, data: Mapping[str, Any]) -> None:
        """Raises ValueError for fields that are missing, unknown or of another type."""
        if missing := self._wanted - data.keys():
            raise ValueError(f"an entry {kind} lacks {', '.join(sorted(missing))}")
        for name, value in data.items():
            field = self.fields.get(name)
            if field is None:
                allowed = ", ".join(self.fields) or "none"
                raise ValueError(f"an entry {kind} has no field {name!r}; it has {allowed}")
            if not field.type.holds(value):
                found = type(value).__name__
                raise ValueError(f"{name} of an entry {kind} is {found}, not {field.type.name}")


def text(meaning: str) -> Field:
    return Field(TEXT, meaning)


def whole(meaning: str) -> Field:
    return Field(WHOLE, meaning)


def flag(meaning: str) -> Field:
    return Field(FLAG, meaning)


def maybe(field: Field) -> Field:
    """Not always there."""
    return Field(field.type, field.meaning, optional=True)


INTENT = text("under which the transaction was asked for")
ASKED = {"intent": INTENT}
CODE = text("code of the refusal")
DETAIL = text("the refusal in words")
BLOCK = whole("block that says so")
TASK = text("id of the task")
STEP = text("step of the job")
ATTEMPT = whole("attempt of the job")
HOW = text('"session", "api-key" or "token"')
ROUTE = text("template of the path")
DIGEST = text("SHA-256 of it")
TERMS = Field(OBJECT, "the terms, as they were signed")

MESSAGE = {
    "job": text("the job"),
    "step": STEP,
    "attempt": ATTEMPT,
    "sender": text("site that sent it"),
    "receiver": text("site that received it"),
    "messageKind": text("declared kind of the message"),
    "n": whole("number among those of its kind and direction"),
    "digest": text("SHA-256 of the body, the same at both ends"),
    "size": whole("bytes of the body"),
    "declared": maybe(
        Field(OBJECT, "the body, where it says what a party approved, had used, or arrived at")
    ),
}
WHY = {
    "code": maybe(text("code of the reason")),
    "detail": maybe(text("the reason in words")),
    "why": maybe(text("reason of the partner that stopped first")),
}

JOB, SITE, DATASET, GRANT = "job", "site", "dataset", "grant"
PROPOSAL, PERSON, KEY, DISPUTE = "proposal", "person", "key", "dispute"
CODE_DIGEST, MEMBER, REQUEST = "digest of the code", "member", "request for admission"
AUDIT_REQUEST = "request of an audit"

EVENTS: Mapping[str, Event] = {
    # ── Sites, keys and members
    "site.registered": Event.of(
        SITE,
        "this site asked to be registered, or to be reached elsewhere",
        **ASKED,
        name=maybe(text("its name")),
        endpoint=text("where partners reach it"),
        roles=maybe(Field(LIST, "its roles")),
    ),
    "site.agreed": Event.of(
        SITE, "an account agreed to operate the site", **ASKED, operator=text("the account")
    ),
    "site.taken_over": Event.of(
        SITE,
        "the member's account gave the site to another operator",
        **ASKED,
        from_=text("the account before"),
        to=text("the account since"),
    ),
    "site.retired": Event.of(SITE, "a site that was left behind was retired", **ASKED),
    "admission.requested": Event.of(
        REQUEST,
        "an institution asked to be admitted",
        account=text("its account"),
        name=text("its name"),
    ),
    "admission.dismissed": Event.of(
        REQUEST, "this site will not sponsor the request", account=text("its account")
    ),
    "key.rotating": Event.of(
        KEY,
        "a key was made that will follow another",
        **ASKED,
        purpose=text("what the key signs"),
        publicKey=text("the new key"),
        old=text("id of the key before"),
    ),
    "key.switched": Event.of(
        KEY,
        "the site signs with the new key from now on",
        purpose=text("what the key signs"),
        new=text("id of the new key"),
        old=text("id of the key before"),
    ),
    "key.ended": Event.of(
        KEY,
        "the key before has ended",
        purpose=text("what the key signed"),
        new=text("id of the new key"),
        old=text("id of the key before"),
    ),
    "key.abandoned": Event.of(
        KEY,
        "the new key was given up",
        purpose=text("what the key would sign"),
        new=text("id of the new key"),
        old=text("id of the key before"),
        reason=text("why"),
    ),
    "key.revoked": Event.of(
        KEY, "the end of a key was asked for", **ASKED, purpose=text("what it signs")
    ),
    # ── Data and grants
    "dataset.registered": Event.of(
        DATASET,
        "a dataset or a version of it was committed to, or withdrawn",
        **ASKED,
        name=maybe(text("its name")),
        version=whole("its version"),
        schemaDigest=maybe(text("SHA-256 of its columns")),
        rowsRoot=maybe(text("root over its salted rows")),
        rows=maybe(whole("how many rows")),
        columns=maybe(whole("how many columns")),
        withdrawn=maybe(flag("the version was withdrawn")),
    ),
    "grant.signed": Event.of(
        GRANT,
        "a data owner allowed a use",
        **ASKED,
        terms=TERMS,
        signer=maybe(text("account that signed, where it is not the site's")),
    ),
    "grant.revoked": Event.of(GRANT, "a data owner took a grant back", **ASKED),
    # ── Jobs
    "job.proposed": Event.of(
        JOB,
        "this site proposed a job",
        specification=text("SHA-256 of the specification"),
        kind=text('"train", "predict", "match" or "count"'),
        algorithm=text("name of the algorithm"),
        codeDigest=text("SHA-256 of its code"),
        purpose=text("what for"),
        parties=Field(LIST, "sites with their roles"),
    ),
    "specification.received": Event.of(
        JOB, "the proposer delivered the specification", digest=DIGEST, size=whole("bytes")
    ),
    "specification.refused": Event.of(
        JOB,
        "what was delivered was refused",
        offered=text("SHA-256 of what was delivered"),
        code=CODE,
        detail=DETAIL,
    ),
    "job.waiting": Event.of(
        JOB, "the job waits for a person", why=Field(LIST, "why no rule approves it")
    ),
    "job.reminded": Event.of(
        JOB, "somebody should look at the job", secondsLeft=whole("until it is rejected")
    ),
    "job.approved": Event.of(
        JOB,
        "this site approved the job",
        specification=text("SHA-256 of what was approved"),
        rule=maybe(text("id of the standing rule that approved")),
        ruleName=maybe(text("its name")),
    ),
    "job.rejected": Event.of(
        JOB,
        "this site rejected the job, or withdrew from it",
        asked=text('"reject" or "cancel"'),
        reason=text("why, in a word"),
    ),
    "admission.decided": Event.of(
        JOB,
        "whether work may be done now, by grants, budgets and policy",
        moment=text('"approve", "start", "task" or "running"'),
        allowed=flag("whether it may"),
        reasons=Field(LIST, "codes and words of what forbids it"),
        step=maybe(STEP),
        attempt=maybe(ATTEMPT),
        stopped=maybe(whole("tasks that were stopped")),
    ),
    "request.refused": Event.of(
        JOB,
        "the chain refused what this site asked for",
        asked=text("what"),
        code=CODE,
        detail=DETAIL,
    ),
    "job.started": Event.of(JOB, "the job runs", block=BLOCK, attempt=ATTEMPT),
    "job.ended": Event.of(
        JOB,
        "the job is over",
        state=text("how it ended"),
        block=BLOCK,
        reason=maybe(text("why, in a word")),
        by=maybe(text("site that ended it")),
        result=maybe(text("SHA-256 of the result")),
    ),
    "job.stopped": Event.of(
        JOB,
        "all work of the job at this site has stopped; with the receipt for partners",
        attempt=ATTEMPT,
        reason=text("why, in a word"),
        detail=text("why, in words"),
        block=BLOCK,
        blockTime=Field(WHOLE_OR_NULL, "its time, seconds"),
        noticedAt=text("when this site noticed"),
        endedAt=text("when the last task ended"),
        keyId=text("key that signed the receipt"),
        signature=text("the signature, base64"),
    ),
    "stop.received": Event.of(
        JOB,
        "a partner told that it stopped",
        receipt=Field(OBJECT, "its signed receipt"),
        digest=text("SHA-256 of the receipt"),
    ),
    "task.started": Event.of(
        JOB, "a step of the job began here", task=TASK, step=STEP, attempt=ATTEMPT
    ),
    "task.restarted": Event.of(
        JOB,
        "a step of the job began again here",
        task=TASK,
        step=STEP,
        attempt=ATTEMPT,
        run=whole("number of the beginning; the first is 0 and has no such entry"),
        by=text("site that was interrupted, or this one"),
    ),
    "task.finished": Event.of(
        JOB,
        "a step of the job ended well here",
        task=maybe(TASK),
        step=STEP,
        attempt=ATTEMPT,
        output=text("SHA-256 of its outputs"),
    ),
    "task.failed": Event.of(
        JOB, "a step of the job failed here", task=TASK, step=STEP, attempt=maybe(ATTEMPT), **WHY
    ),
    "task.stopped": Event.of(
        JOB, "a step of the job was stopped here", task=TASK, step=STEP, **WHY
    ),
    "message.sent": Event.of(
        JOB,
        "a partner acknowledged a message of ours",
        **MESSAGE,
        receipt=Field(OBJECT, "time, key and signature of the receipt that it signed"),
    ),
    "message.received": Event.of(
        JOB,
        "a message for us is on disk",
        **MESSAGE,
        signatureDigest=text("SHA-256 of its sender's signature"),
    ),
    "message.refused": Event.of(
        JOB,
        "a message was turned away",
        address=Field(OBJECT, "the address it was sent to"),
        digest=DIGEST,
        code=CODE,
    ),
    "result.attested": Event.of(
        JOB,
        "this site attested the result",
        result=text("SHA-256 of the result"),
        attempt=ATTEMPT,
    ),
    "model.registered": Event.of(
        JOB,
        "the model of the job stands on the chain",
        model=text("its id"),
        digest=text("SHA-256 over its parties' parts"),
    ),
    "prediction.made": Event.of(
        JOB,
        "rows were scored with a model",
        model=text("id of the model"),
        rows=whole("how many"),
    ),
    "reconciliation.made": Event.of(
        JOB,
        "the parties' logs of the job were held against each other",
        agrees=flag("whether they tell the same"),
        messages=whole("messages that they tell alike"),
        approvals=whole("approvals"),
        grantUses=whole("uses of grants"),
        results=whole("results"),
        bytes=whole("bytes of all of them"),
        digest=text("SHA-256 over all of them"),
        differences=maybe(whole("lines that are missing or different")),
        sites=maybe(Field(LIST, "sites in whose logs")),
        where=maybe(text("the first of them, in words")),
    ),
    "job.certified": Event.of(
        JOB,
        "the certificate was issued",
        digest=text("SHA-256 of the file"),
        messages=whole("that it covers"),
    ),
    # ── Standing rules
    "rule.added": Event.of(
        "rule",
        "a standing rule approves jobs from now on",
        name=text("its name"),
        until=text("day of its end"),
        conditions=Field(OBJECT, "what it approves"),
    ),
    "rule.removed": Event.of("rule", "a standing rule ended", name=text("its name")),
    # ── People and programs
    "person.added": Event.of(
        PERSON,
        "somebody may act at this site",
        roles=Field(LIST, "his or her roles"),
        until=Field(WHOLE_OR_NULL, "end, seconds"),
    ),
    "person.changed": Event.of(
        PERSON,
        "somebody has other roles",
        from_=Field(LIST, "the roles before"),
        roles=Field(LIST, "the roles since"),
        until=Field(WHOLE_OR_NULL, "end, seconds"),
    ),
    "person.disabled": Event.of(PERSON, "somebody may not act here any more"),
    "person.signed_in": Event.of(
        PERSON,
        "a session began",
        how=text('"wallet" or "token"'),
        until=whole("its end, seconds"),
    ),
    "person.signed_out": Event.of(PERSON, "a session was ended"),
    "person.refused": Event.of(
        "what was asked about",
        "a request was refused for who made it",
        code=CODE,
        method=text("HTTP method"),
        route=ROUTE,
    ),
    "person.acted": Event.of(
        "what was acted on",
        "a person or a program changed something, or tried",
        how=HOW,
        method=text("HTTP method"),
        route=ROUTE,
        status=whole("HTTP status of the answer"),
        key=maybe(text("id of the API key")),
    ),
    "api_key.created": Event.of(
        PERSON,
        "a program may act for somebody",
        key=text("id of the key"),
        roles=Field(LIST, "its roles"),
        expires=whole("its end, seconds"),
    ),
    "api_key.revoked": Event.of(PERSON, "a program may not any more", key=text("id of the key")),
    # ── Evidence
    "evidence.read": Event.of("what was read", "an auditor read evidence", how=HOW, route=ROUTE),
    # ── The right to audit
    "audit.filed": Event.of(
        AUDIT_REQUEST,
        "this site asked another to show evidence",
        **ASKED,
        site=text("that is asked"),
        askedFor=text("everything, period, site, dataset or job"),
        question=text("SHA-256 of the question"),
    ),
    "audit.requested": Event.of(
        AUDIT_REQUEST,
        "this site was asked on the chain to show evidence",
        by=text("member that asks"),
        auditor=maybe(text("its site with the auditor's role, where that one asked")),
        askedFor=text("everything, period, site, dataset or job"),
        question=text("SHA-256 of the question"),
        until=whole("block time in Unix seconds, by which it is answered"),
        block=BLOCK,
    ),
    "audit.question.received": Event.of(
        AUDIT_REQUEST,
        "the question of a request was brought to this site",
        question=text("SHA-256 of the question"),
        asker=text("site that brought it"),
    ),
    "audit.question.refused": Event.of(
        AUDIT_REQUEST,
        "the question of a request was brought to this site, and no pack can answer it",
        question=text("SHA-256 of the question"),
        asker=text("site that brought it"),
        why=text("what no pack can show"),
    ),
    "audit.question.missing": Event.of(
        AUDIT_REQUEST,
        "no question of a request to this site came by its deadline",
        question=text("SHA-256 of the question, as the chain has it"),
        by=text("member that filed the request"),
        until=whole("block time in Unix seconds, by which it had to answer"),
    ),
    "audit.answered": Event.of(
        AUDIT_REQUEST,
        "this site answers with a pack",
        **ASKED,
        pack=text("SHA-256 of the pack"),
        redacted=Field(LIST, "fields and kinds that it hides"),
    ),
    "audit.pack.fetched": Event.of(
        AUDIT_REQUEST,
        "the site that asked fetched the answer, for the first time",
        pack=text("SHA-256 of the pack"),
        by=text("site that fetched it"),
    ),
    "audit.answer.checked": Event.of(
        AUDIT_REQUEST,
        "this site held an answer against its question, the request and the chain",
        site=text("that answered"),
        pack=text("SHA-256 of the pack"),
        holds=flag("whether every check held"),
        failure=maybe(text("where the first check failed, and how")),
    ),
    "audit.silence": Event.of(
        AUDIT_REQUEST,
        "a request that this site filed or was asked was not answered by its deadline",
        site=text("that was asked"),
        until=whole("block time in Unix seconds, by which it had to answer"),
    ),
    "statement.made": Event.of(
        SITE,
        "the data-use statement of a month that ended was made and kept",
        month=text("like 2026-10"),
        digest=text("SHA-256 of the file"),
        uses=whole("of this member's data, that it tells of"),
    ),
    "anchor.made": Event.of(
        SITE,
        "a head of this log stands on the chain",
        size=whole("entries under it"),
        root=text("root over them"),
        block=BLOCK,
    ),
    "log.conflict": Event.of(
        "the log",
        "another site's log showed two histories",
        kind=text('"fork" or "unproven"'),
        known=text("the note that was cosigned"),
        shown=text("the note that contradicts it"),
    ),
    "log.challenged": Event.of(
        SITE,
        "this site has to prove on the chain a head that it signed",
        challenge=text("its id"),
        size=whole("entries under the head"),
        root=text("root over them"),
        until=whole("block time in Unix seconds, by which it is proved or this site is marked"),
        block=BLOCK,
    ),
    "site.marked": Event.of(
        "the site",
        "a key of a site was shown on the chain to have signed two tales of its log",
        key=text("the key's address"),
        kind=text("TWO_CHECKPOINTS, ANOTHER_ANCHOR or UNANSWERED"),
        size=whole("entries under the head"),
        block=BLOCK,
    ),
    "alert.raised": Event.of(
        "what the alert is about",
        "the monitor raised an alert",
        alert=text("its id"),
        alertKind=text("its kind, of `node.alerts`"),
        severity=text("`critical`, `warning` or `notice`"),
        evidence=text("digest of the evidence, which is kept beside the alert"),
    ),
    "alert.acknowledged": Event.of(
        "what the alert is about",
        "somebody said that he looked at an alert",
        alert=text("its id"),
        alertKind=text("its kind, of `node.alerts`"),
    ),
    "payload.erased": Event.of(
        "the scope",
        "the payloads of a scope were erased, and their key",
        count=whole("entries whose payload is gone"),
        digest=text("SHA-256 over their leaf hashes, in the log's order"),
        reason=text("why"),
    ),
    # ── The chain
    "chain.unavailable": Event.of(
        SITE, "the chain does not answer, or stands still", code=CODE, detail=DETAIL
    ),
    "chain.available": Event.of(
        SITE, "the chain answers again", block=BLOCK, was=text("what was wrong")
    ),
    # ── Governance
    "proposal.made": Event.of(
        PROPOSAL,
        "a vote was asked for",
        **ASKED,
        kind=text("what is proposed"),
        title=text("in words"),
        effect=text("SHA-256 of what it would change"),
    ),
    "proposal.withdrawn": Event.of(PROPOSAL, "its proposer withdrew it", **ASKED),
    "proposal.queued": Event.of(PROPOSAL, "it passed and waits for its time", **ASKED),
    "proposal.executing": Event.of(PROPOSAL, "its execution was asked for", **ASKED),
    "proposal.executed": Event.of(
        PROPOSAL,
        "what happened was held against what was declared",
        kind=text("what was proposed"),
        declared=text("SHA-256 of what it said it would change"),
        executed=text("SHA-256 of what it changed"),
        asDeclared=flag("whether they are the same"),
        transaction=text("that executed it"),
    ),
    "vote.cast": Event.of(
        PROPOSAL,
        "this member voted",
        **ASKED,
        support=text("how"),
        reason=text("why; it stands on the chain"),
    ),
    "ballot.relayed": Event.of(
        PROPOSAL,
        "a vote that somebody signed was sent",
        **ASKED,
        voter=text("whose"),
        support=text("how"),
        reason=text("why; it stands on the chain"),
    ),
    "review.submitted": Event.of(
        CODE_DIGEST, "code was put up for review", **ASKED, name=text("its name")
    ),
    "review.relayed": Event.of(
        CODE_DIGEST,
        "a review that somebody signed was sent",
        **ASKED,
        person=text("reviewer"),
        approves=flag("whether it approves"),
        report=text("SHA-256 of the report"),
    ),
    "person.appointed": Event.of(
        MEMBER, "somebody speaks for the member", **ASKED, person=text("account")
    ),
    "person.dismissed": Event.of(
        MEMBER, "somebody speaks for the member no more", **ASKED, person=text("account")
    ),
    # ── When things go wrong
    "brake.pulled": Event.of(
        "digest of the reason",
        "this member asked that all stop",
        **ASKED,
        reason=text("SHA-256 of the reason"),
        reasonText=maybe(text("the reason in words")),
    ),
    "emergency.opened": Event.of(
        GRANT,
        "two people opened access in an emergency",
        **ASKED,
        terms=TERMS,
        people=Field(LIST, "who signed"),
        purpose=text("SHA-256 of the purpose"),
        purposeText=maybe(text("the purpose in words")),
    ),
    "emergency.lapsed": Event.of(
        GRANT, "the review of an emergency is overdue", **ASKED, owner=text("who owes it")
    ),
    "dispute.opened": Event.of(
        DISPUTE,
        "this member disputes something",
        **ASKED,
        respondent=text("with whom"),
        about=text("kind of the subject"),
        subject=text("what is disputed"),
        evidence=text("SHA-256 of the evidence"),
        evidenceText=maybe(text("the evidence in words")),
    ),
    "dispute.answered": Event.of(
        DISPUTE,
        "this member answered",
        **ASKED,
        answer=text("SHA-256 of the answer"),
        answerText=maybe(text("the answer in words")),
    ),
    "dispute.withdrawn": Event.of(DISPUTE, "its claimant withdrew it", **ASKED),
}

WORDS = frozenset({"brake.pulled", "emergency.opened", "dispute.opened", "dispute.answered"})
"""Kinds whose fields are disclosed to every member: the chain has the digests of words in them,
which the members hold against the words."""

# ── What is asked to be logged ───────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Duty:
    """What a standard or a law asks to be logged, the entries that do, and what they do not."""

    source: str
    asks: str
    kinds: tuple[str, ...]
    lacks: str


PEOPLE = tuple(kind for kind in EVENTS if kind.startswith(("person.", "api_key.")))
MESSAGES = ("message.sent", "message.received", "message.refused")
TASKS = ("task.started", "task.restarted", "task.finished", "task.failed", "task.stopped")

DUTIES = (
    Duty(
        "JR/T 0196-2020 § 7.6",
        "each party keeps a log of its users' operations",
        (*PEOPLE, "job.proposed", "job.approved", "job.rejected", "grant.signed", "grant.revoked"),
        "what somebody does on the machine beside the node, to the database or to the data files",
    ),
    Duty(
        "JR/T 0196-2020 § 7.6",
        "evidence of results is kept",
        (*TASKS, "result.attested", "model.registered", "prediction.made", "job.certified"),
        "the results themselves: the log holds their digests, the site keeps the files",
    ),
    Duty(
        "JR/T 0196-2020 § 7.6",
        "a party that broke the agreement can be audited and traced",
        (
            *MESSAGES,
            "admission.decided",
            "job.stopped",
            "stop.received",
            "reconciliation.made",
            "log.conflict",
            "dispute.opened",
        ),
        "what a party does with what it rightly received",
    ),
    Duty(
        "EU AI Act Art. 12(1)",
        "events are recorded automatically over the lifetime of the system",
        ("job.started", "job.ended", *TASKS, *MESSAGES, "prediction.made"),
        "the life of a model outside of the consortium; changes of the host and of its software",
    ),
    Duty(
        "EU AI Act Art. 12(2)(a)",
        "events that help to see a risk or a substantial modification",
        (
            "review.submitted",
            "review.relayed",
            "proposal.executed",
            "model.registered",
            "brake.pulled",
            "emergency.opened",
            "alert.raised",
        ),
        "what the model does to the people it is used on: nothing of that reaches the log",
    ),
    Duty(
        "EU AI Act Art. 12(2)(b)",
        "events that help monitoring after the system is on the market",
        ("prediction.made", "result.attested", "alert.raised", "dispute.opened"),
        "drift, errors and complaints in use: of a prediction, its model and the number of rows "
        "are entered",
    ),
    Duty(
        "EU AI Act Art. 12(2)(c)",
        "events by which who uses the system monitors its operation",
        ("prediction.made", "evidence.read", "chain.unavailable", "chain.available", *TASKS),
        "oversight by people during use; who looked at a score",
    ),
    Duty(
        "EU AI Act Art. 12(3)",
        "of remote biometric identification: times of use, database, matches, who verified them",
        (),
        "all of it: the algorithms here do nothing of the kind",
    ),
)

# ── The document ─────────────────────────────────────────────────────────────────────────────

DOCUMENT = Path(__file__).parents[2] / "docs" / "audit-events.md"

HEAD = """\
# What the audit log tells

`python -m node.audit.schemas` writes this page; change `node/audit/schemas.py`, not this.

Every entry is a CloudEvent: who did it (`actor`), to or about what (`subject`), when (`time`), at
which site (`source`), and what (`type`, which is `fatechain.`, the kind below and `.v1`;
`dataschema` is `urn:fatechain:event:`, the kind and `:1`). These stand in the leaf for everybody
who reads it. The fields of `data` are committed to one by one, sealed, and can be hidden or erased
([the audit log](audit-log.md)). What they are when disclosed, a JSON Schema (draft 2020-12) says
for every URN: a file each in `docs/audit-schemas/`, and `GET /v1/audit/schemas/{kind}` of every
node. Other kinds, other fields and other types are refused when they are recorded; a field in
brackets is not always there.
"""

ASKED_FOR = """\
## What is asked to be logged

The clause of the Chinese standard for multi-party computation in finance is told here after a
published summary of it, not after its text. A line says which kinds serve a duty, not that logging
them is all of it: how long logs are kept, by whom and under whose eyes is for the members to agree.
Entries are never deleted; their fields are, where an operator erases a scope.

| source | asks | entries | not covered |
| --- | --- | --- | --- |
"""


def document() -> str:
    """docs/audit-events.md."""
    parts = [HEAD]
    for kind, event in EVENTS.items():
        parts.append(f"## {kind}\n\nAbout: {event.subject}. Tells that {event.meaning}.\n")
        if event.fields:
            lines = "".join(
                f"| {_name(name, field)} | {field.type.name} | {field.meaning} |\n"
                for name, field in event.fields.items()
            )
            parts.append(f"| field | type | meaning |\n| --- | --- | --- |\n{lines}")
    duties = "".join(
        f"| {duty.source} | {duty.asks} | {_kinds(duty.kinds)} | {duty.lacks} |\n"
        for duty in DUTIES
    )
    return "\n".join([*parts, ASKED_FOR + duties])


def _name(name: str, field: Field) -> str:
    return f"(`{name}`)" if field.optional else f"`{name}`"


def _kinds(kinds: tuple[str, ...]) -> str:
    return ", ".join(f"`{kind}`" for kind in kinds) or "none"


if __name__ == "__main__":
    from node.audit import json_schema

    DOCUMENT.write_text(document(), encoding="utf-8")
    json_schema.write()
