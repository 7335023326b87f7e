"""Proposals say what they do, in words that a program can hold against the calls."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chain import canonical
from chain.errors import ProposalInvalid
from chain.proposals import (
    MAX_BODY,
    PARAMS,
    Action,
    Draft,
    actions,
    describe,
    description,
    draft,
    matches,
    parse,
)
from chain.testnet import dev_account
from tests.chain.world import World

ACCOUNT = str(dev_account(7).address)
ID = "0x" + "ab" * 32
EXAMPLES: dict[str, dict[str, Any]] = {
    "admit": {"account": ACCOUNT, "name": "Æther 银行", "nonce": "1" * 39, "acceptance": "0x12"},
    "suspend": {"member": ID},
    "reinstate": {"member": ID},
    "expel": {"member": ID},
    "allow-algorithm": {"code_digest": ID, "name": "secureboost"},
    "forbid-algorithm": {"code_digest": ID},
    "admit-scheme": {"scheme": "lattice"},
    "withdraw-scheme": {"scheme": "paillier"},
    "set-minimum": {"name": "key-bits", "value": 3072},
    "allow-purpose": {"purpose": "fraud"},
    "withdraw-purpose": {"purpose": "fraud"},
    "upgrade": {"name": "jobs", "implementation": ACCOUNT, "code_hash": ID},
    "set-constitution": {"digest": ID},
    "rule-dispute": {"dispute": ID, "ruling": "upheld", "reasons": ID},
    "recover-account": {"member": ID, "account": ACCOUNT, "acceptance": "0x1234"},
    "name-issuer": {"kind": "iso27001", "issuer": ACCOUNT},
    "remove-issuer": {"kind": "iso27001", "issuer": ACCOUNT},
    "require-attestation": {"kind": "iso27001", "required": True},
    "review-break-glass": {"emergency": ID, "justified": False, "reasons": ID},
    "release-brake": {},
    "set-voting": {"voting_delay": 3, "quorum_minimum": 2, "timelock_delay": 60},
    "move-authority": {"to": ACCOUNT},
}


def example(kind: str) -> Draft:
    return draft(kind, EXAMPLES[kind], title=f"Let us {kind}", body="Because.\n\n- of this\n- that")


def test_every_kind_has_an_example_here_and_says_what_it_does() -> None:
    assert set(EXAMPLES) == set(PARAMS)
    for kind, model in PARAMS.items():
        assert model.__doc__, kind
        assert all(field.description for field in model.model_fields.values()), kind


@pytest.mark.parametrize("kind", PARAMS)
@pytest.mark.parametrize("effect", [None, "0x" + "cd" * 32])
def test_description_is_read_back_as_it_was_written(kind: str, effect: str | None) -> None:
    made = example(kind)
    assert parse(description(made, effect)) == (made, effect)


@pytest.mark.parametrize("kind", PARAMS)
def test_calls_of_a_kind_are_known_and_said_in_plain_words(kind: str, world: World) -> None:
    made = example(kind)
    calls = actions(made, world.network)
    assert matches(made, calls, world.network)
    for call in calls:
        told = describe(world.network, call)
        assert told.known
        assert told.contract in world.network.contracts.values()
        assert not told.text.startswith(("call ", "UNKNOWN"))
        assert told.text.isprintable()


def test_words_that_lie_about_the_calls_are_found(world: World) -> None:
    made, other = example("suspend"), example("expel")
    assert not matches(made, actions(other, world.network), world.network)
    assert not matches(made, (), world.network)
    assert not matches(made, actions(made, world.network) * 2, world.network)
    (call,) = actions(made, world.network)
    assert not matches(made, (Action(call.target, call.calldata, 1),), world.network)


def test_voting_is_changed_by_a_call_for_each_field_that_is_given(world: World) -> None:
    told = [
        describe(world.network, call).function
        for call in actions(example("set-voting"), world.network)
    ]
    assert told == ["setVotingDelay", "setQuorumMinimum", "updateDelay"]


def test_call_of_a_stranger_is_said_loudly(world: World) -> None:
    told = describe(world.network, Action(ACCOUNT, "0x12345678"))
    assert not told.known
    assert told.text.startswith("UNKNOWN: ")
    assert ACCOUNT in told.text


@pytest.mark.parametrize("data", ["0x", "0x12345678", "0x39"])
def test_function_that_the_interface_lacks_is_said_loudly(world: World, data: str) -> None:
    told = describe(world.network, Action(world.network.jobs.address, data))
    assert (told.known, told.contract) == (False, "JobRegistry")
    assert told.text.startswith("UNKNOWN: ")


def test_call_with_bytes_behind_its_arguments_is_unknown(world: World) -> None:
    (call,) = actions(example("suspend"), world.network)
    told = describe(world.network, Action(call.target, call.calldata + "00"))
    assert not told.known


def test_money_that_a_call_pays_is_said(world: World) -> None:
    (call,) = actions(example("suspend"), world.network)
    assert "pay 5 wei" in describe(world.network, Action(call.target, call.calldata, 5)).text


def test_known_function_without_words_of_its_own_is_shown_with_its_arguments(world: World) -> None:
    book = world.network.consortium
    call = Action.of(book.set_contract("jobs", ACCOUNT))
    assert "enter" in describe(world.network, call).text
    sites = Action.of(world.network.sites.retire(ID))
    assert describe(world.network, sites).text == f"call SiteRegistry.retire(id={ID})"


@pytest.mark.parametrize("kind", PARAMS)
def test_action_is_read_back_from_json(kind: str, world: World) -> None:
    for call in actions(example(kind), world.network):
        assert Action.from_json(call.to_json()) == call


@pytest.mark.parametrize(
    ("kind", "params", "where"),
    [
        ("rob", {}, "kind"),
        ("suspend", {}, "suspend: member"),
        ("suspend", {"member": "0x12"}, "suspend: member"),
        ("suspend", {"member": ID, "more": 1}, "suspend: more"),
        ("suspend", {"member": "zz" + "ab" * 32}, "suspend: member"),
        ("admit", {**EXAMPLES["admit"], "account": "0x" + "00" * 20}, "admit: account"),
        ("admit", {**EXAMPLES["admit"], "account": ACCOUNT.swapcase()}, "admit: account"),
        ("admit", {**EXAMPLES["admit"], "name": ""}, "admit: name"),
        ("admit", {**EXAMPLES["admit"], "name": "a\nb"}, "admit: name"),
        ("admit", {**EXAMPLES["admit"], "nonce": "-1"}, "admit: nonce"),
        ("admit", {**EXAMPLES["admit"], "nonce": 2**256}, "admit: nonce"),
        ("admit", {**EXAMPLES["admit"], "nonce": "1" * 1000}, "admit: nonce"),
        ("admit", {**EXAMPLES["admit"], "acceptance": "0x1"}, "admit: acceptance"),
        ("admit", {**EXAMPLES["admit"], "acceptance": "0x" + "00" * 9000}, "admit: acceptance"),
        ("admit-scheme", {"scheme": "x" * 32}, "admit-scheme: scheme"),
        ("admit-scheme", {"scheme": ""}, "admit-scheme: scheme"),
        ("admit-scheme", {"scheme": "é"}, "admit-scheme: scheme"),
        ("set-minimum", {"name": "key-bits", "value": -1}, "set-minimum: value"),
        ("set-minimum", {"name": "key-bits", "value": 2**53}, "set-minimum: value"),
        ("set-minimum", {"name": "key-bits", "value": "many"}, "set-minimum: value"),
        ("rule-dispute", {"dispute": ID, "ruling": "maybe", "reasons": ID}, "rule-dispute: ruling"),
        ("set-voting", {}, "set-voting: params"),
        ("set-voting", {"voting_period": 0}, "set-voting: voting_period"),
        ("set-voting", {"quorum_minimum": 0}, "set-voting: quorum_minimum"),
        ("allow-algorithm", {"code_digest": ID, "name": "x -->"}, "params"),
    ],
)
def test_parameters_that_cannot_be_are_refused_by_name(
    kind: str, params: dict[str, Any], where: str
) -> None:
    with pytest.raises(ProposalInvalid) as caught:
        draft(kind, params, title="Title")
    assert caught.value.where == where


@pytest.mark.parametrize(
    ("title", "body"),
    [
        ("", ""),
        (" a", ""),
        ("a\nb", ""),
        ("a" * 201, ""),
        ("a", " b"),
        ("a", "b\r\nc"),
        ("a", "x" * (MAX_BODY + 1)),
        ("a", "<!-- fatechain-proposal {} -->"),
    ],
)
def test_title_and_body_have_their_limits(title: str, body: str) -> None:
    with pytest.raises(ProposalInvalid, match=r"proposal: (title|body)"):
        draft("release-brake", {}, title=title, body=body)


def changed(text: str) -> list[str]:
    head, mark, hidden = text.partition("<!-- fatechain-proposal ")
    return [
        "",
        "just words",
        text + "\n",
        "\n" + text,
        text.replace("# ", "## ", 1),
        head + hidden,
        text.replace('"version":1', '"version":2'),
        text.replace('"version":1', '"version":true'),
        text.replace('"version":1', '"version": 1'),
        text.replace('"kind":"suspend"', '"kind":"expell"'),
        text.replace('"effect":null', '"effect":"0xAB"'),
        text.replace('"effect":null', '"effect":7'),
        text.replace('"effect":null,', ""),
        text.replace(ID, ID.upper().replace("0X", "0x")),
        text.replace('{"member":', '{"more":1,"member":'),
        head + mark + "{" * 300 + " -->",
        head + mark + "[] -->",
        text.replace("<!--", "<!--", 1) + text,
        text.replace(" -->", ' --> <img src="x"> -->'),
    ]


@pytest.mark.parametrize("number", range(19))
def test_text_that_the_program_did_not_write_is_refused(number: int) -> None:
    with pytest.raises(ProposalInvalid):
        parse(changed(description(example("suspend"), None))[number])


@given(st.text(max_size=300))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    for found in (text, f"# a\n\n{text}\n\n<!-- fatechain-proposal {text} -->"):
        with pytest.raises(ProposalInvalid):
            parse(found)


def test_description_that_names_its_proposer_ends_with_the_governors_words() -> None:
    made, proposer = example("suspend"), "0x" + "ab" * 20
    text = description(made, None, proposer)
    assert text[-52:].lower() == f"#proposer={proposer}"
    assert parse(text) == (made, None)


def test_what_stands_in_the_body_is_no_second_description() -> None:
    first = description(example("suspend"), None)
    with pytest.raises(ProposalInvalid):
        parse(f"# Other\n\n{first}\n\n<!-- fatechain-proposal {canonical.dumps({}).decode()} -->")


def test_refusal_says_what_was_found_and_what_is_allowed() -> None:
    with pytest.raises(ProposalInvalid) as caught:
        draft("suspend", {"membre": ID, "member": ID}, title="a")
    assert "suspend: membre" in str(caught.value)
    assert "suspend takes member" in str(caught.value)
