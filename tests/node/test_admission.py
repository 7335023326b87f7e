"""Admission refuses by name whatever does not stand, and allows only what stands in every view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chain.consents import ALL_MEMBERS
from node.admission import (
    ChainView,
    Facts,
    GrantView,
    JobView,
    LocalData,
    ModelView,
    Moment,
    PartyView,
    PolicyAnswer,
    Privacy,
    UseView,
    decide,
    product_limit,
)
from node.errors import NodeError, Refused, Unavailable
from node.specification import Specification
from tests.node.test_specification import an_id, document

GUEST, HOST = an_id(10), an_id(11)
BANK, SHOP = an_id(50), an_id(51)
KEEPER, THIRD = an_id(12), an_id(52)  # a site without data, and its member
HOST_DATA, GUEST_DATA, GRANT, CODE, MODEL = an_id(21), an_id(20), an_id(31), an_id(1), an_id(70)
NOW, DEADLINE = 1_700_000_000, 1_800_000_000
SPECIFICATION = Specification.model_validate(document())
HELD = LocalData(
    HOST_DATA,
    1,
    an_id(82),
    an_id(83),
    rows=900,
    id_column="id",
    features=("visits", "spent", "diagnosis"),
)
RULES = an_id(90)  # the digest of a document about columns
STATE = {"approve": "PROPOSED", "start": "APPROVED", "task": "RUNNING"}

GRANTED = GrantView(
    id=GRANT,
    state="ACTIVE",
    dataset=HOST_DATA,
    from_version=1,
    to_version=1,
    grantee=BANK,
    purposes=("training", "quality"),
    algorithms=(an_id(2), CODE),
    until=DEADLINE,
    min_parties=2,
    min_rows=50,
    product_budget=500,
)


def view(moment: Moment = "task", specification: Specification = SPECIFICATION) -> ChainView:
    """A block in which everything stands."""
    return ChainView(
        block=100,
        time=NOW,
        job=JobView(
            state=STATE[moment],
            specification=specification.digest,
            algorithm=CODE,
            purpose=specification.purpose,
            deadline=DEADLINE,
            member=BANK,
            parties=((GUEST, "guest"), (HOST, "host")),
            uses=((0, GUEST_DATA, 1, None), (1, HOST_DATA, 1, GRANT)),
        ),
        algorithm_allowed=True,
        purpose_allowed=True,
        scheme_admitted=True,
        minimum_key_bits=2048,
        minimum_rows=50,
        minimum_bin_rows=10,
        minimum_leaf_rows=10,
        parties=(PartyView(GUEST, BANK, "ACTIVE"), PartyView(HOST, SHOP, "ACTIVE")),
        uses=(
            UseView(0, GUEST_DATA, 1, "STANDS", GUEST, BANK, 1000, an_id(80), an_id(81)),
            UseView(1, HOST_DATA, 1, "STANDS", HOST, SHOP, 900, an_id(82), an_id(83), GRANTED),
        ),
        model=ModelView(exists=True, stands=True),
    )


def facts(moment: Moment = "task", **changes: Any) -> Facts:
    """The host's facts when everything is as agreed."""
    return replace(
        Facts(
            moment=moment,
            me=HOST,
            job_id=an_id(99),
            views=(view(moment), view(moment)),
            specification=SPECIFICATION,
            code_digest=CODE,
            roles=("guest", "host"),
            key_bits=2048,
            bin_rows=20,
            leaf_rows=20,
            data=(HELD,),
            spent={},
            approved=SPECIFICATION.digest,
        ),
        **changes,
    )


def change(
    moment: Moment = "task",
    *,
    job: dict[str, Any] | None = None,
    grant: dict[str, Any] | None = None,
    use: dict[str, Any] | None = None,
    party: dict[str, Any] | None = None,
    chain: dict[str, Any] | None = None,
    **own: Any,
) -> Facts:
    """Facts with something changed in the newest view, at the host's data or about the guest."""
    good = view(moment)
    assert good.job is not None
    changed = replace(
        good,
        job=replace(good.job, **job or {}),
        parties=(replace(good.parties[0], **party or {}), good.parties[1]),
        uses=(
            good.uses[0],
            replace(good.uses[1], **{"grant": replace(GRANTED, **grant or {})} | (use or {})),
        ),
    )
    changed = replace(changed, **chain or {})
    return facts(moment, views=(good, changed), **own)


@pytest.mark.parametrize("moment", ["approve", "start", "task"])
def test_what_stands_everywhere_is_allowed(moment: Moment) -> None:
    decision = decide(facts(moment))
    assert decision.reasons == ()
    assert decision.allowed
    decision.require()


REFUSED: dict[str, Callable[[], Facts]] = {
    # what is known
    "ChainUnavailable": lambda: facts(chain_problem="nobody answers"),
    "ChainStale": lambda: facts(silent_seconds=61.0),
    # the job
    "NotFound": lambda: change(chain={"job": None}),
    "JobNotRunning": lambda: change(job={"state": "FAILED"}),
    "DeadlinePassed": lambda: change(chain={"time": DEADLINE}, grant={"until": DEADLINE + 1}),
    "NotAParty": lambda: facts(me=an_id(77)),
    "WrongRole": lambda: change(job={"parties": ((GUEST, "guest"), (HOST, "arbiter"))}),
    # the agreement
    "SpecificationMissing": lambda: facts(specification=None),
    "SpecificationMismatch": lambda: change(job={"specification": an_id(5)}),
    # the code
    "AlgorithmNotAllowed": lambda: change(chain={"algorithm_allowed": False}),
    "SchemeNotAdmitted": lambda: change(chain={"scheme_admitted": False}),
    "KeyTooSmall": lambda: facts(key_bits=1024),
    "TooFewRows": lambda: change(chain={"minimum_rows": 51}),
    # the parties
    "UnknownSite": lambda: change(party={"exists": False}),
    "MemberNotActive": lambda: change(party={"member_standing": "SUSPENDED"}),
    "SiteNotActive": lambda: change(party={"stands": False}),
    "KeyRevoked": lambda: change(party={"has_request_key": False}),
    # the data
    "DatasetUnknown": lambda: change(use={"standing": "UNKNOWN"}),
    "DatasetWithdrawn": lambda: change(use={"standing": "WITHDRAWN"}),
    "DatasetMismatch": lambda: change(use={"rows_root": an_id(6)}),
    # the grant
    "GrantMissing": lambda: change(use={"grant": None}),
    "GrantExpired": lambda: change(grant={"state": "EXPIRED"}),
    "GrantRevoked": lambda: change(grant={"state": "REVOKED"}),
    "GrantAmended": lambda: change(grant={"state": "AMENDED"}),
    "GrantUsedUp": lambda: change("start", grant={"state": "USED_UP"}),
    "GrantWrongDataset": lambda: change(grant={"dataset": an_id(6)}),
    "GrantWrongVersion": lambda: change(grant={"from_version": 2, "to_version": 3}),
    "GrantWrongGrantee": lambda: change(grant={"grantee": SHOP}),
    "GrantWrongPurpose": lambda: change(grant={"purposes": ("prediction",)}),
    "GrantWrongAlgorithm": lambda: change(grant={"algorithms": (an_id(6),)}),
    "GrantTooFewParties": lambda: change(grant={"min_parties": 3}),
    "ProductBudgetExceeded": lambda: facts("start", spent={GRANT: 400}, products=101),
    # the members
    "ConsortiumPaused": lambda: change(chain={"paused_until": NOW + 1}),
    "PurposeNotAllowed": lambda: change(chain={"purpose_allowed": False}),
    "AttestationMissing": lambda: change(party={"missing_attestation": "iso-27001"}),
    "ArbiterNotIndependent": lambda: with_arbiter(BANK),
    "LimitTooLow": lambda: facts(bin_rows=9),
    # this site
    "NotApprovedHere": lambda: facts("start", approved=None),
    "PolicyRefused": lambda: facts(policy=PolicyAnswer(allow=False, reason="not on Sundays")),
    "PolicyUnavailable": lambda: facts(policy=PolicyAnswer(allow=False, problem="timed out")),
    "ColumnNotAllowed": lambda: facts(privacy=Privacy(withheld=frozenset({"id"}))),
    "ColumnRulesMissing": lambda: change(grant={"column_rules": RULES}),
    "ContractRefused": lambda: change(chain={"refusal": Refused("ContractRefused", "no")}),
}


@pytest.mark.parametrize("code", REFUSED)
def test_each_reason_refuses_by_its_name(code: str) -> None:
    decision = decide(REFUSED[code]())
    assert decision.codes[0] == code
    with pytest.raises(NodeError, match=code):
        decision.require()


def test_every_rule_is_tried_and_a_wrong_role_is_also_another_agreement() -> None:
    several = {code for code in REFUSED if len(decide(REFUSED[code]()).reasons) > 1}
    assert several == {"WrongRole"}


def test_reasons_are_told_with_code_and_detail() -> None:
    told = decide(REFUSED["GrantRevoked"]()).to_json()
    assert told["allowed"] is False
    assert told["reasons"][0]["code"] == "GrantRevoked"
    assert GRANT in told["reasons"][0]["detail"]


def test_a_permission_that_is_not_confirmed_yet_does_not_count() -> None:
    good, young = view("start"), view("start")
    young = replace(
        young, uses=(young.uses[0], replace(young.uses[1], grant=GrantView(GRANT, "NONE")))
    )
    assert decide(facts("start", views=(young, good))).codes == ("GrantMissing",)


def test_a_withdrawal_counts_before_it_is_confirmed() -> None:
    assert decide(change(grant={"state": "REVOKED"})).codes == ("GrantRevoked",)


def test_the_use_that_a_running_job_consumed_does_not_stop_it() -> None:
    assert decide(change(grant={"state": "USED_UP"})).allowed


def test_a_grant_ends_with_its_block_time_even_if_no_block_said_so() -> None:
    assert decide(change(grant={"until": NOW})).codes == ("GrantExpired",)


def test_two_sites_of_one_institution_are_one_party_to_a_grant() -> None:
    assert decide(change(party={"member": SHOP})).codes == ("GrantTooFewParties",)


def with_arbiter(member: str, moment: Moment = "task", **changes: Any) -> Facts:
    """The host's facts of a job with a third site as arbiter, of that member."""
    plans = [*document()["parties"], {"site": KEEPER, "role": "arbiter", "inputs": []} | changes]
    spec = Specification.model_validate(document(parties=plans, algorithm="linear_models"))
    good = view(moment, spec)
    assert good.job is not None
    parties = (*good.parties, PartyView(KEEPER, member, "ACTIVE"))
    roles = tuple((plan.site, plan.role) for plan in spec.parties)
    used = tuple((0, e.dataset, e.version, e.grant) for e in spec.parties[2].inputs)
    good = replace(
        good,
        job=replace(
            good.job,
            parties=roles,
            uses=(*good.job.uses, *((2, *use[1:]) for use in used)),
        ),
        parties=parties,
    )
    found = facts(moment, views=(good, good), specification=spec, approved=spec.digest)
    return replace(found, roles=("guest", "host", "arbiter"))


@pytest.mark.parametrize("moment", ["approve", "start", "task"])
@pytest.mark.parametrize("member", [BANK, SHOP])
def test_an_arbiter_of_a_partys_own_member_is_refused(moment: Moment, member: str) -> None:
    """With its random numbers that party computes all columns and labels."""
    assert decide(with_arbiter(THIRD, moment)).allowed
    found = with_arbiter(member, moment)
    assert decide(found).codes == ("ArbiterNotIndependent",)
    young = with_arbiter(THIRD, moment)
    assert not decide(replace(found, views=(young.views[0], found.views[0]))).allowed
    assert not decide(replace(found, views=(found.views[0], young.views[0]))).allowed


def test_an_arbiter_is_no_party_to_a_grant_that_asks_for_several() -> None:
    found = with_arbiter(THIRD)
    asks = replace(found.views[0].uses[1], grant=replace(GRANTED, min_parties=3))
    views = tuple(replace(v, uses=(v.uses[0], asks)) for v in found.views)
    assert decide(replace(found, views=views)).codes == ("GrantTooFewParties",)


def test_a_role_that_the_algorithm_lacks_is_refused() -> None:
    found = with_arbiter(THIRD)
    assert decide(replace(found, roles=("guest", "host"))).codes == ("WrongRole",)


def test_an_arbiter_with_data_is_refused() -> None:
    entry = {"dataset": an_id(22), "version": 1, "grant": None}
    found = with_arbiter(THIRD, inputs=[entry])
    assert decide(found).codes == ("WrongRole",)


def test_other_code_than_the_agreed_one_does_not_run_here() -> None:
    assert decide(facts(code_digest=an_id(3))).codes == ("AlgorithmNotAllowed",)
    assert decide(facts(code_digest=None)).codes == ("AlgorithmNotAllowed",)


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": an_id(7)},
        {"purpose": "prediction"},
        {"deadline": DEADLINE + 1},
        {"parties": ((GUEST, "guest"), (HOST, "host"), (an_id(12), "host"))},
        {"uses": ((1, HOST_DATA, 1, GRANT),)},
        {"uses": ((0, GUEST_DATA, 1, None), (1, HOST_DATA, 2, GRANT))},
    ],
)
def test_a_specification_that_contradicts_the_proposal_is_refused(changes: dict[str, Any]) -> None:
    assert "SpecificationMismatch" in decide(change(job=changes)).codes


def test_data_that_does_not_lie_here_is_refused() -> None:
    assert decide(facts(data=())).codes == ("DatasetUnknown",)


def test_own_data_of_the_proposer_needs_no_grant() -> None:
    assert decide(change(use={"grant": None, "owner": BANK})).allowed


def test_only_the_holder_judges_what_was_spent() -> None:
    data = (LocalData(GUEST_DATA, 1, an_id(80), an_id(81), rows=1000, id_column="id"),)
    spent = {GRANT: 500}
    assert decide(facts("start", me=GUEST, data=data, spent=spent, products=1)).allowed


def test_a_budget_that_lasts_for_the_whole_job_is_enough() -> None:
    assert decide(facts("start", spent={GRANT: 400}, products=100)).allowed
    assert decide(facts("task", spent={GRANT: 500}, products=100)).allowed


def test_a_grant_without_a_budget_allows_a_tenth_of_the_rows() -> None:
    use = view().uses[1]
    assert product_limit(replace(GRANTED, product_budget=0), use) == 90
    assert product_limit(GRANTED, use) == 500


def _predict() -> Specification:
    changes = {"kind": "predict", "model": MODEL, "holdout": None, "label": None}
    return Specification.model_validate(document(**changes))


@pytest.mark.parametrize(
    ("model", "held", "codes"),
    [
        (ModelView(True, True), True, ()),
        (ModelView(False, False), True, ("ModelUnknown",)),
        (ModelView(True, False), True, ("ModelWithdrawn",)),
        (ModelView(True, True), False, ("ModelUnknown",)),
    ],
)
def test_a_prediction_needs_a_model_that_stands_and_lies_here(
    model: ModelView, held: bool, codes: tuple[str, ...]
) -> None:
    specification = _predict()
    both = replace(view(specification=specification), model=model)
    digest = specification.digest
    found = facts(views=(both, both), specification=specification, has_model=held, approved=digest)
    assert decide(found).codes == codes


def test_nothing_else_is_said_when_the_chain_was_not_read() -> None:
    decision = decide(facts(chain_problem="gone", specification=None, code_digest=None))
    assert decision.codes == ("ChainUnavailable",)


def test_several_reasons_are_all_told_and_each_once() -> None:
    found = change(grant={"state": "REVOKED"}, party={"member_standing": "EXPELLED"})
    doubled = replace(found, views=(found.views[1], found.views[1]))
    assert sorted(decide(doubled).codes) == ["GrantRevoked", "MemberNotActive"]


# ── What the members decided ─────────────────────────────────────────────────────────────────


def test_a_pause_that_is_over_stops_nothing() -> None:
    assert decide(change(chain={"paused_until": NOW})).allowed


WITHDRAWN: dict[str, dict[str, Any]] = {
    "MemberNotActive": {"party": {"member_standing": "SUSPENDED"}},
    "KeyRevoked": {"party": {"has_request_key": False}},
    "AttestationMissing": {"party": {"missing_attestation": "iso-27001"}},
    "AlgorithmNotAllowed": {"chain": {"algorithm_allowed": False}},
    "PurposeNotAllowed": {"chain": {"purpose_allowed": False}},
    "ConsortiumPaused": {"chain": {"paused_until": NOW + 60}},
}


@pytest.mark.parametrize("code", WITHDRAWN)
def test_what_the_members_withdraw_ends_running_work_and_does_not_only_pause_it(code: str) -> None:
    """Only reasons of the kind `Unavailable` let running work wait."""
    [reason] = decide(change("task", **WITHDRAWN[code])).reasons
    assert reason.code == code
    assert not isinstance(reason, Unavailable)
    assert reason.hint or code == "MemberNotActive"


def test_an_expelled_member_ends_running_work() -> None:
    assert decide(change(party={"member_standing": "EXPELLED"})).codes == ("MemberNotActive",)


@pytest.mark.parametrize(("bins", "leaves"), [(9, 20), (20, 9), (9, 9)])
def test_a_job_may_not_lower_the_governed_least_rows(bins: int, leaves: int) -> None:
    assert set(decide(facts(bin_rows=bins, leaf_rows=leaves)).codes) == {"LimitTooLow"}


def test_an_algorithm_without_bins_has_no_least_rows_of_them() -> None:
    assert decide(facts(bin_rows=None, leaf_rows=None)).allowed


def test_a_grant_to_all_members_is_one_to_each() -> None:
    assert decide(change(grant={"grantee": ALL_MEMBERS})).allowed


# ── What this site decided ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("moment", ["start", "task"])
def test_an_approval_on_the_chain_alone_runs_nothing_here(moment: Moment) -> None:
    assert decide(facts(moment, approved=None)).codes == ("NotApprovedHere",)


def test_an_approval_of_another_specification_is_none() -> None:
    assert decide(facts("start", approved=an_id(5))).codes == ("NotApprovedHere",)


def test_nothing_needs_to_be_approved_before_it_is_approved() -> None:
    assert decide(facts("approve", approved=None)).allowed


def test_the_reason_of_the_policy_is_told() -> None:
    [reason] = decide(facts(policy=PolicyAnswer(allow=False, reason="not on Sundays"))).reasons
    assert "not on Sundays" in reason.detail


def test_a_policy_that_says_yes_allows_nothing_that_is_refused_otherwise() -> None:
    found = replace(change(grant={"state": "REVOKED"}), policy=PolicyAnswer(allow=True))
    assert decide(found).codes == ("GrantRevoked",)


def test_a_dataset_with_fewer_rows_than_the_site_brings_is_refused() -> None:
    assert decide(facts(privacy=Privacy(min_rows=901))).codes == ("TooFewRows",)
    assert decide(facts(privacy=Privacy(min_rows=900))).allowed


def ruled(**rules: str) -> Facts:
    """The host's facts where its grant carries this document about columns."""
    found = change(grant={"column_rules": RULES}, column_rules={GRANT: rules})
    return replace(found, views=(found.views[1], found.views[1]))


def test_columns_that_no_rule_names_are_free() -> None:
    assert decide(ruled(visits="none")).allowed


@pytest.mark.parametrize("word", ["none", "protocol", "sometimes"])
def test_an_id_column_that_may_not_be_joined_on_refuses_the_job(word: str) -> None:
    [reason] = decide(ruled(id=word)).reasons
    assert (reason.code, reason.found, reason.allowed) == ("ColumnNotAllowed", "id", word)


def test_an_id_column_may_be_for_joining_only() -> None:
    assert decide(ruled(id="join")).allowed


def matched_by(*columns: str, rules: dict[str, str] | None = None) -> Facts:
    """The host's facts of a training whose rows are matched by these columns of the host."""
    terms = {
        "minimumIntersection": 50,
        "columns": [["id", "guess", "other"][: len(columns)], columns],
    }
    spec = Specification.model_validate(document(psi=terms))
    found = facts() if rules is None else ruled(**rules)
    views = tuple(
        replace(view, job=replace(view.job, specification=spec.digest))
        for view in found.views
        if view.job is not None
    )
    return replace(found, views=views, specification=spec, approved=spec.digest)


@pytest.mark.parametrize(
    "rules",
    [None, {"visits": "none"}, {"*": "join"}, {"diagnosis": "protocol", "*": "join"}],
)
def test_a_column_that_no_grant_names_for_it_matches_no_rows(rules: dict[str, str] | None) -> None:
    """A guest that matches by its guesses would be told which of them are right."""
    decision = decide(matched_by("id", "diagnosis", rules=rules))
    assert "ColumnNotAllowed" in decision.codes
    assert decision.reasons[0].found == "diagnosis"


def test_a_column_that_the_grant_names_for_it_may_match_rows() -> None:
    assert decide(matched_by("id", "diagnosis", rules={"diagnosis": "join"})).allowed
    assert decide(matched_by("diagnosis", rules={"diagnosis": "join"})).allowed
    assert decide(matched_by("id")).allowed  # the id column needs no word


def test_own_data_is_matched_by_what_its_site_proposes() -> None:
    found = matched_by("id", "diagnosis")
    data = replace(HELD, dataset=GUEST_DATA, schema_digest=an_id(80), rows_root=an_id(81))
    data = replace(data, features=("guess",))
    assert decide(replace(found, me=GUEST, data=(data,))).allowed


def test_a_job_with_no_column_left_is_refused() -> None:
    assert decide(ruled(**{"*": "none", "id": "join"})).codes == ("ColumnNotAllowed",)
    assert decide(ruled(**{"*": "join"})).codes == ("ColumnNotAllowed",)
    assert decide(ruled(**{"*": "none", "id": "join", "visits": "protocol"})).allowed


def test_a_document_that_is_not_here_refuses_everything_under_its_grant() -> None:
    found = replace(ruled(), column_rules={})
    assert decide(found).codes == ("ColumnRulesMissing",)


def test_a_withheld_label_refuses_training_with_it() -> None:
    data = LocalData(
        GUEST_DATA, 1, an_id(80), an_id(81), rows=1000, id_column="id", label_column="y"
    )
    found = facts(me=GUEST, data=(data,), privacy=Privacy(withheld=frozenset({"y"})))
    [reason] = decide(found).reasons
    assert (reason.code, reason.found) == ("ColumnNotAllowed", "y")


def test_others_columns_are_their_own_affair() -> None:
    """The guest judges its own data, not by the rules of the host's grant."""
    data = LocalData(GUEST_DATA, 1, an_id(80), an_id(81), rows=1000, id_column="id")
    found = replace(ruled(id="none"), me=GUEST, data=(data,), column_rules={})
    assert decide(found).allowed
