"""The typed clients say what the contracts say: ids, structs, states, refusals, signatures."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account

from chain import abi, canonical, network
from chain.anchors import Head
from chain.calls import Call
from chain.certificate import state_at
from chain.client import ChainClient
from chain.compile import load
from chain.consents import GrantState, GrantTerms, grant_id
from chain.consortium import Consortium
from chain.contract import Contract
from chain.datasets import dataset_id
from chain.deploy import PLAIN, PROXIES
from chain.errors import ContractRefused
from chain.ids import ZERO_ID, derive_id, new_nonce
from chain.jobs import MOVES, Jobs, JobState, job_id, reason_text
from chain.membership import Standing, member_id
from chain.models import model_id
from chain.sites import AUDIT, KeyInput, SiteRole, key_id, key_proof_digest, site_id
from chain.testing import InProcessChain
from chain.timelock import Timelock
from tests.chain.world import CODE, DAY, World

INTERFACES = Path(__file__).parents[2] / "contracts" / "interfaces"
CLIENTS: tuple[type[Contract], ...] = (Consortium, *network.CLIENTS.values())
INTERFACED = tuple(client for client in CLIENTS if client is not Timelock)
OTHER = "0x" + "ab" * 32


# ── ids


def test_ids_are_those_of_the_contracts(world: World) -> None:
    net, chain = world.network, world.network.client.chain_id
    account, nonce = world.bank.account.address, 2**200 + 1
    for function, contract, computed in (
        ("memberIdFor", net.membership, member_id),
        ("siteIdFor", net.sites, site_id),
        ("datasetIdFor", net.datasets, dataset_id),
        ("grantIdFor", net.consents, grant_id),
        ("jobIdFor", net.jobs, job_id),
        ("modelIdFor", net.models, model_id),
    ):
        call = Call(contract.artifact, function, (account, nonce), contract.address)
        assert net.client.call(call) == computed(chain, contract.address, account, nonce), function


def test_ids_differ_by_chain_registry_owner_and_nonce() -> None:
    one, other = "0x" + "11" * 20, "0x" + "22" * 20
    ids = {
        derive_id(*args)
        for args in ((1, one, one, 0), (2, one, one, 0), (1, other, one, 0), (1, one, one, 1))
    }
    assert len(ids) == 4


def test_new_nonces_differ() -> None:
    assert len({new_nonce() for _ in range(100)}) == 100


def test_key_ids_are_those_of_the_registry(world: World) -> None:
    keys = world.network.sites.keys(world.bank.site)
    assert keys[0].id == world.request_key(world.bank)
    chain, sites = world.network.client.chain_id, world.network.sites.address
    assert keys[1].id == key_id(chain, sites, world.bank.site, AUDIT, world.bank.public_key)
    assert world.network.sites.key(keys[0].id) == (world.bank.site, keys[0])


def test_what_a_key_signs_to_prove_itself_is_what_the_registry_says(world: World) -> None:
    net, bank = world.network, world.bank
    said = key_proof_digest(
        net.client.chain_id, net.sites.address, bank.site, AUDIT, bank.public_key
    )
    assert net.sites.key_proof_digest(bank.site, AUDIT, bank.public_key) == said


def test_a_key_proves_itself_for_its_site_and_purpose_alone(world: World) -> None:
    sites, bank, shop = world.network.sites, world.bank, world.shop
    request, audit, _ = sites.keys(bank.site)
    assert sites.proves(bank.site, request)
    assert sites.proves(bank.site, audit)
    assert not sites.proves(shop.site, request)
    assert not sites.proves(bank.site, replace(request, proof=audit.proof))
    assert not sites.proves(bank.site, replace(request, proof="0x"))
    assert not sites.proves(bank.site, replace(request, public_key=shop.public_key))
    assert not sites.proves(bank.site, replace(request, public_key="0x12"))


# ── the clients cover the interfaces


@pytest.mark.parametrize("client", INTERFACED)
def test_every_function_of_the_interface_has_a_method(client: type[Contract]) -> None:
    text = (INTERFACES / f"I{client.artifact}.sol").read_text()
    declared = set(re.findall(r"function (\w+)\(", text))
    # Told by other means: ids and what is signed are computed, pages are read whole, and some are
    # for contracts or for votes alone.
    told = {
        "consume",
        "grantInEmergency",
        "suspendUnreviewed",
        "forgetOperator",
        "forgetReplaced",
        "admissionDigest",
        "recoveryDigest",
    }
    told |= {"setQuorumMinimum"}
    told |= {*(name for name in declared if name.endswith(("IdFor", "Count")))}
    methods = {_camel(name) for name in dir(client) if not name.startswith("_")}
    assert declared - told - methods == set()


@pytest.mark.parametrize("client", CLIENTS)
def test_artifact_declares_what_the_client_calls(client: type[Contract]) -> None:
    functions = {e["name"] for e in load(client.artifact).abi if e["type"] == "function"}
    source = Path(__import__(client.__module__, fromlist=["x"]).__file__).read_text()
    called = set(re.findall(r'_(?:read|write)\(\s*"(\w+)"', source))
    assert called <= functions


@pytest.mark.parametrize(
    ("contract", "enum", "states"),
    [
        ("IJobRegistry", "State", JobState),
        ("IConsentRegistry", "State", GrantState),
        ("IMembership", "Standing", Standing),
    ],
)
def test_states_stand_in_the_contracts_order(contract: str, enum: str, states: type) -> None:
    text = (INTERFACES / f"{contract}.sol").read_text()
    body = re.search(rf"enum {enum} \{{(.*?)\}}", text, re.DOTALL)
    assert body is not None
    names = [name.strip() for name in body[1].split(",")]
    assert [re.sub(r"(?<!^)(?=[A-Z])", "_", n).upper() for n in names] == [str(s) for s in states]  # type: ignore[attr-defined]


def test_moves_of_a_job_are_those_of_the_interface() -> None:
    text = (INTERFACES / "IJobRegistry.sol").read_text()
    told = dict(re.findall(r"(\w+) -> ((?:\w+ \| )+\w+)", text))
    assert {s: {m.upper() for m in told[s.capitalize()].split(" | ")} for s in _movable()} == {
        s: {str(m) for m in MOVES[s]} for s in _movable()
    }
    assert {s for s in MOVES if s.is_final} == set(JobState) - set(_movable()) - {JobState.NONE}


def _movable() -> tuple[JobState, ...]:
    return JobState.PROPOSED, JobState.APPROVED, JobState.RUNNING


def test_address_book_names_are_those_that_are_deployed() -> None:
    assert {name: client.artifact for name, client in network.CLIENTS.items()} == {
        **PROXIES,
        **PLAIN,
    }


# ── facts


def test_member_and_site_are_read_as_registered(world: World) -> None:
    net, bank = world.network, world.bank
    member = net.membership.member(bank.member)
    assert (member.account, member.name) == (bank.account.address, "bank")
    assert member.admitted_at > 0
    assert member.suspended_at == member.expelled_at == 0
    assert net.membership.standing(bank.member) is Standing.ACTIVE
    assert net.membership.standing_at(bank.member, member.admitted_at - 1) is Standing.NONE
    assert net.membership.member_of(bank.account.address) == bank.member
    assert net.membership.require_active_account(bank.account.address) == bank.member
    assert net.membership.members() == (bank.member, world.shop.member)
    site = net.sites.site(bank.site)
    assert (site.member, site.operator) == (bank.member, bank.operator.address)
    assert site.roles == SiteRole.DATA_OWNER | SiteRole.MODEL_USER
    assert site.endpoint == "http://bank.example"
    assert net.sites.sites() == (bank.site, world.shop.site)
    assert net.sites.site_of(bank.operator.address) == bank.site
    assert net.sites.member_of(bank.site) == bank.member
    assert net.sites.is_active(bank.site)
    net.sites.require_operator(bank.site, bank.operator.address)
    with pytest.raises(ContractRefused, match="SiteNotOperator"):
        net.sites.require_operator(bank.site, bank.account.address)


def test_suspension_is_a_fact_with_a_block(world: World) -> None:
    net, shop = world.network, world.shop
    at = world.send(world.authority, net.membership.suspend(shop.member)).block_number
    assert net.membership.standing(shop.member) is Standing.SUSPENDED
    assert net.membership.member(shop.member).suspended_at == at
    with pytest.raises(ContractRefused, match=r"standing=2"):
        net.sites.require_active(shop.site)
    world.send(world.authority, net.membership.reinstate(shop.member))
    net.sites.require_active(shop.site)


def test_rotated_keys_overlap_and_a_revoked_one_ends(world: World) -> None:
    net, bank = world.network, world.bank
    other = KeyInput("request", "0x" + "77" * 32, "0x" + "66" * 64)
    world.send(bank.account, net.sites.add_key(bank.site, other))
    first, *_, second = net.sites.keys(bank.site)
    assert first.is_valid_at(second.from_block)
    end = world.send(bank.account, net.sites.revoke_key(bank.site, first.id)).block_number
    first, *_, second = net.sites.keys(bank.site)
    assert [first.is_valid_at(at) for at in (end - 1, end)] == [True, False]
    assert second.is_valid_at(end)


def test_dataset_versions_are_added_and_withdrawn(world: World) -> None:
    net, bank = world.network, world.bank
    add = net.datasets.add_version(bank.dataset, OTHER, OTHER, 1000, 9)
    world.send(bank.operator, add)
    assert net.datasets.dataset(bank.dataset).versions == 2
    version = net.datasets.version(bank.dataset, 2)
    assert (version.rows, version.columns, version.rows_root) == (1000, 9, OTHER)
    world.send(bank.operator, net.datasets.withdraw_version(bank.dataset, 2))
    assert net.datasets.version(bank.dataset, 2).until_block > 0
    net.datasets.require_standing(bank.dataset, 1)
    with pytest.raises(ContractRefused, match="DatasetVersionWithdrawn"):
        net.datasets.require_standing(bank.dataset, 2)
    assert net.datasets.datasets() == (bank.dataset, world.shop.dataset)


def test_word_that_spells_nothing_is_shown_as_hex(world: World) -> None:
    ended = world.start()
    world.send(world.shop.operator, world.network.jobs.fail(ended, world.shop.site, OTHER))
    assert world.network.jobs.job(ended).reason == OTHER
    assert reason_text(ZERO_ID) is None
    assert reason_text(canonical.word("WorkerLost")) == "WorkerLost"


# ── grants


def test_grant_is_kept_as_signed(world: World) -> None:
    terms = world.terms(nonce=9, uses=2, epsilon_micro=2**64 - 1)
    grant = world.give(terms)
    record = world.network.consents.record(grant)
    assert (record.terms, record.owner, record.used) == (terms, world.shop.member, 0)
    assert world.network.consents.state(grant) is GrantState.ACTIVE
    assert world.network.consents.grants() == (world.shop.grant, grant)


def test_terms_round_trip_through_json() -> None:
    many = ("training", "prediction"), (OTHER, CODE)
    terms = GrantTerms(OTHER, 1, 2**32 - 1, OTHER, *many, 2**64 - 1, 1, 2**256 - 1)
    assert GrantTerms.from_json(terms.to_json()) == terms
    assert canonical.loads(canonical.dumps(terms.to_json())) == terms.to_json()


def test_digest_of_the_typed_data_is_the_contracts(world: World) -> None:
    from eth_account.messages import encode_typed_data
    from eth_utils.crypto import keccak

    many = {"purposes": ("prediction", "training"), "algorithms": (OTHER, CODE)}
    terms = world.terms(nonce=2**250, column_rules=CODE, amends=OTHER, **many)
    message = encode_typed_data(full_message=world.network.consents.typed_data(terms))
    signed = keccak(b"\x19" + message.version + message.header + message.body)
    assert abi.to_hex(signed) == world.network.consents.digest(terms)


def test_grant_signed_by_another_is_refused(world: World) -> None:
    terms = world.terms(nonce=9)
    forged = world.network.consents.sign(terms, Account.from_key(b"\x01" * 32))
    with pytest.raises(ContractRefused, match="ConsentBadSignature"):
        world.send(world.bank.operator, world.network.consents.grant(terms, forged))


def test_grant_is_revoked_by_a_relayed_signature(world: World) -> None:
    consents, shop = world.network.consents, world.shop
    assert shop.grant is not None
    signature = consents.sign_revocation(shop.grant, shop.account)
    world.send(world.bank.operator, consents.revoke_by_signature(shop.grant, signature))
    assert consents.state(shop.grant) is GrantState.REVOKED
    with pytest.raises(ContractRefused, match="ConsentRevoked"):
        world.propose()


def test_grant_has_the_state_it_had_at_a_block(world: World) -> None:
    consents, shop = world.network.consents, world.shop
    assert shop.grant is not None
    end = world.send(shop.account, consents.revoke(shop.grant)).block_number
    record = consents.record(shop.grant)
    now = world.now()
    assert state_at(record, record.from_block - 1, now) is GrantState.NONE
    assert state_at(record, end - 1, now) is GrantState.ACTIVE
    assert state_at(record, end, now) is GrantState.ACTIVE  # the start came first in its block
    assert state_at(record, end + 1, now) is GrantState.REVOKED
    assert state_at(record, end - 1, record.terms.until) is GrantState.EXPIRED


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"purpose": "prediction"}, "ConsentWrongPurpose"),
        ({"algorithm": OTHER}, "ConsentWrongAlgorithm"),
        ({"version": 2}, "ConsentWrongVersion"),
        ({"dataset": OTHER}, "ConsentWrongDataset"),
        ({"grantee": OTHER}, "ConsentWrongGrantee"),
        ({"parties": 1}, "ConsentTooFewParties"),
        ({"grant": OTHER}, "ConsentUnknown"),
    ],
)
def test_use_beyond_the_grant_is_refused_by_name(
    world: World, changes: dict[str, object], error: str
) -> None:
    use: dict[str, object] = {
        "grant": world.shop.grant,
        "grantee": world.bank.member,
        "dataset": world.shop.dataset,
        "version": 1,
        "purpose": "training",
        "algorithm": CODE,
        "parties": 2,
    }
    world.network.consents.require_usable(**use)  # type: ignore[arg-type]
    with pytest.raises(ContractRefused) as caught:
        world.network.consents.require_usable(**{**use, **changes})  # type: ignore[arg-type]
    assert caught.value.error == error
    with pytest.raises(ContractRefused, match=error):
        world.network.consents.require_standing(**{**use, **changes})  # type: ignore[arg-type]


# ── jobs, models, anchors


def test_job_goes_through_its_life(world: World) -> None:
    jobs, bank, shop = world.network.jobs, world.bank, world.shop
    assert jobs.state(OTHER) is JobState.NONE
    proposal = world.proposal()
    job = world.propose()
    assert jobs.state(job) is JobState.PROPOSED
    assert (jobs.parties(job), jobs.uses(job)) == (proposal.parties, proposal.uses)
    assert jobs.approved_at(job, bank.site) > 0
    assert jobs.approved_at(job, shop.site) == 0
    world.send(shop.operator, jobs.approve(job, shop.site, proposal.specification))
    assert jobs.state(job) is JobState.APPROVED
    jobs.require_runnable(job)
    receipt = world.send(bank.operator, jobs.start(job))
    assert {event.name for event in receipt.events} == {"JobStarted", "ConsentUsed"}
    assert jobs.state(job) is JobState.RUNNING
    assert shop.grant is not None
    assert world.network.consents.record(shop.grant).used == 1
    assert jobs.attestation(job, bank.site) is None
    for party in (bank, shop):
        world.send(party.operator, jobs.attest(job, party.site, OTHER))
    found = jobs.job(job)
    assert (found.state, jobs.state(job)) == (JobState.SUCCEEDED, JobState.SUCCEEDED)
    assert found.proposed_at < found.approved_at < found.started_at < found.ended_at
    assert (found.purpose, found.proposer, found.member) == ("training", bank.site, bank.member)
    said = jobs.attestation(job, shop.site)
    assert said is not None
    assert (said.result, said.at_block) == (OTHER, found.ended_at)
    assert jobs.jobs() == (job,)


def test_parties_that_attest_different_results_end_in_a_named_failure(world: World) -> None:
    jobs, job = world.network.jobs, world.start()
    for party, result in ((world.bank, OTHER), (world.shop, CODE)):
        world.send(party.operator, jobs.attest(job, party.site, result))
    found = jobs.job(job)
    assert (found.state, found.reason) == (JobState.FAILED, "ResultMismatch")


def test_job_past_its_deadline_is_expired_before_anyone_says_so(
    world: World, chain: InProcessChain
) -> None:
    jobs, job = world.network.jobs, world.start()
    chain.travel(DAY + 1)
    assert jobs.state(job) is JobState.EXPIRED
    assert jobs.job(job).state is JobState.RUNNING
    world.send(world.shop.account, jobs.expire(job))
    assert jobs.job(job).state is JobState.EXPIRED


def test_revocation_ends_the_runnability_of_a_running_job(world: World) -> None:
    job = world.start()
    world.network.jobs.require_runnable(job)
    assert world.shop.grant is not None
    world.send(world.shop.account, world.network.consents.revoke(world.shop.grant))
    with pytest.raises(ContractRefused, match=r"JobRegistry\.requireRunnable.*ConsentRevoked"):
        world.network.jobs.require_runnable(job)


def test_job_is_rejected_cancelled_and_failed_with_a_reason(world: World) -> None:
    jobs, bank, shop = world.network.jobs, world.bank, world.shop
    one, two, three = world.propose(11), world.propose(12), world.start(13)
    world.send(shop.operator, jobs.reject(one, shop.site, "TooManyRows"))
    world.send(bank.operator, jobs.cancel(two, bank.site, "Withdrawn"))
    world.send(shop.operator, jobs.fail(three, shop.site, "WorkerLost"))
    told = [(j.state, j.reason, j.ended_by) for j in map(jobs.job, (one, two, three))]
    assert told == [
        (JobState.REJECTED, "TooManyRows", shop.site),
        (JobState.CANCELLED, "Withdrawn", bank.site),
        (JobState.FAILED, "WorkerLost", shop.site),
    ]


def test_model_is_registered_with_its_lineage_and_withdrawn(world: World) -> None:
    world.run_job()
    models, bank = world.network.models, world.bank
    world.send(bank.operator, models.register(world.job, bank.site, OTHER, [world.model], 99))
    child = model_id(models.client.chain_id, models.address, bank.operator.address, 99)
    assert models.models_of(world.job) == (world.model, child)
    assert models.model(child).parents == (world.model,)
    world.send(bank.operator, models.withdraw(child, bank.site))
    assert models.model(child).until_block > 0


def test_anchored_head_is_read_back_and_proves_its_entries(world: World) -> None:
    world.run_job()
    anchors, shop = world.network.anchors, world.shop
    tree = shop.tree
    head = anchors.head(shop.site)
    assert head == anchors.head_at(shop.site, tree.size)
    assert (head.size, head.root) == (tree.size, abi.to_hex(tree.root()))
    leaf, proof = abi.to_hex(tree.hash_at(0, 3)), map(abi.to_hex, tree.inclusion_proof(3))
    assert anchors.verify_inclusion(shop.site, tree.size, 3, leaf, list(proof))
    assert not anchors.verify_inclusion(shop.site, tree.size, 3, OTHER, [])
    assert anchors.head(OTHER) == Head(0, 0, ZERO_ID)
    with pytest.raises(ContractRefused, match="AnchorUnknown"):
        anchors.head_at(shop.site, tree.size + 1)


def test_rewritten_log_cannot_be_anchored(world: World) -> None:
    world.run_job()
    world.shop.entries[0]["actor"] = "nobody"
    world.shop.tell("job.ended", world.job)
    with pytest.raises(ContractRefused, match="AnchorInconsistent"):
        world.anchor(world.shop)


def test_list_is_read_whole_across_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [world.propose(nonce) for nonce in range(20, 25)]
    monkeypatch.setattr("chain.contract.PAGE", 2)
    assert world.network.jobs.jobs() == tuple(jobs)


def test_network_names_every_contract(world: World) -> None:
    found = world.network.contracts
    assert sorted(found.values()) == sorted(client.artifact for client in CLIENTS)
    assert set(found) == set(world.deployment.contracts.values())


def test_rules_of_the_consortium_are_changed_by_its_authority(world: World) -> None:
    book = world.network.consortium
    for call in (
        book.admit_scheme("lattice"),
        book.withdraw_scheme("paillier"),
        book.forbid_algorithm(CODE),
        book.set_constitution(OTHER),
        book.set_minimum("min-rows", 7),
    ):
        world.send(world.authority, call)
    assert (book.is_scheme_admitted("lattice"), book.is_scheme_admitted("paillier")) == (
        True,
        False,
    )
    assert not book.is_algorithm_allowed(CODE)
    assert book.algorithm(CODE).until_block > book.algorithm(CODE).from_block
    assert (book.constitution(), book.minimum("min-rows")) == (OTHER, 7)
    with pytest.raises(ContractRefused, match="ConsortiumAlgorithmNotAllowed"):
        world.propose()


def test_clients_need_no_account_to_make_calls() -> None:
    client = ChainClient("http://nobody.example")
    call = Jobs(client, "0x" + "11" * 20).approve(OTHER, OTHER, CODE)
    assert (str(call), call.args) == ("JobRegistry.approve", (OTHER, OTHER, CODE))


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
