"""Channels: who may say what to whom, and what happens when somebody says nothing."""

import dataclasses
import pickle

import pytest

from ml import errors, wire
from ml.crypto import authenticated, correlations
from ml.crypto.lattice import integers
from ml.errors import Deadlock, PartnerSilent, ProtocolViolation, TooFewParties
from ml.federation import (
    ARBITER,
    GUEST,
    HOST,
    Address,
    Channel,
    InMemoryTransport,
    Message,
    Party,
    run_in_process,
)
from ml.protocols import shares
from ml.testing import heard, messages_table, sequence_diagram, view
from ml.vertical import scoring

BANK, SHOP, CLINIC = Party(GUEST, "bank"), Party(HOST, "shop"), Party(HOST, "clinic")
KEEPER = Party(ARBITER, "keeper")


class Question(Message, sender=GUEST, to=HOST):
    """The host learns the number asked about."""

    number: int


class Answer(Message, sender=HOST, to=GUEST):
    """The guest learns the square."""

    number: int


class Notice(Message, sender=(GUEST, ARBITER), to=(HOST, ARBITER)):
    """Everybody but the guest learns that it is over."""


async def ask(ch: Channel, number: int) -> dict[str, int]:
    await ch.send(Question(number))
    return {p.site: a.number for p, a in (await ch.receive_all(Answer)).items()}


async def answer(ch: Channel, factor: int) -> int:
    asked = (await ch.receive(Question)).number
    await ch.send(Answer(asked * asked * factor))
    return asked


PROGRAMS = {GUEST: ask, HOST: answer}


def channel(me: Party, *others: Party) -> Channel:
    return Channel(me, (me, *others), InMemoryTransport({me, *others}))


async def test_all_hosts_hear_the_guest_and_it_hears_each_of_them():
    outputs, transcript = await run_in_process(PROGRAMS, {BANK: (3,), SHOP: (1,), CLINIC: (2,)})
    assert outputs == {BANK: {"shop": 9, "clinic": 18}, SHOP: 3, CLINIC: 3}
    assert [str(said.address) for said in transcript][:2] == [
        f"guest:bank -> host:shop {Question.kind}#0",
        f"guest:bank -> host:clinic {Question.kind}#0",
    ]


async def test_a_view_holds_what_one_party_received_and_no_more():
    _, transcript = await run_in_process(PROGRAMS, {BANK: (3,), SHOP: (1,), CLINIC: (2,)})
    assert [said.address.kind for said in view(transcript, SHOP)] == [Question.kind]
    assert [m.number for m in heard(transcript, BANK, Answer)] == [9, 18]


async def test_the_diagram_shows_each_kind_once_in_declared_order():
    _, transcript = await run_in_process(PROGRAMS, {BANK: (3,), SHOP: (1,), CLINIC: (2,)})
    assert sequence_diagram(transcript, (Question, Answer, Notice)).splitlines() == [
        "sequenceDiagram",
        "    participant guest",
        "    participant host",
        "    guest->>host: Question",
        "    host->>guest: Answer",
    ]
    assert "| Notice | guest, arbiter | host, arbiter | Everybody" in messages_table((Notice,))


async def test_messages_of_one_kind_arrive_in_the_order_they_were_sent():
    async def guest(ch: Channel) -> None:
        for number in range(5):
            await ch.send(Question(number))

    async def host(ch: Channel) -> list[int]:
        return [(await ch.receive(Question)).number for _ in range(5)]

    outputs, transcript = await run_in_process({GUEST: guest, HOST: host}, {BANK: (), SHOP: ()})
    assert outputs[SHOP] == [0, 1, 2, 3, 4]
    assert [said.address.n for said in transcript] == [0, 1, 2, 3, 4]


async def test_two_protocols_may_use_the_same_name_for_a_message():
    assert Question.kind.endswith("test_federation.Question")
    from ml.protocols import psi

    assert psi.GuestSet.kind == "protocols.psi.opening.GuestSet"


async def test_a_role_cannot_send_what_is_not_its_own():
    with pytest.raises(ProtocolViolation, match="may not send"):
        await channel(SHOP, BANK).send(Question(1))


async def test_a_role_cannot_receive_what_is_not_for_it():
    with pytest.raises(ProtocolViolation, match="may not receive"):
        await channel(BANK, SHOP).receive(Question)


async def test_a_message_cannot_be_sent_to_a_role_that_it_is_not_for():
    with pytest.raises(ProtocolViolation, match="may not go to"):
        await channel(BANK, SHOP, KEEPER).send(Question(1), to=KEEPER)


async def test_a_message_cannot_be_awaited_from_a_role_that_does_not_say_it():
    with pytest.raises(ProtocolViolation, match="may not send"):
        await channel(BANK, SHOP, KEEPER).receive(Answer, KEEPER)


async def test_a_message_cannot_be_awaited_from_somebody_outside_the_job():
    with pytest.raises(ProtocolViolation, match="may not send"):
        await channel(BANK, SHOP).receive(Answer, CLINIC)


async def test_one_of_several_speakers_must_be_named():
    with pytest.raises(ProtocolViolation, match="name which one"):
        await channel(BANK, SHOP, CLINIC).receive(Answer)
    with pytest.raises(ProtocolViolation, match="name which one"):
        channel(BANK, SHOP, CLINIC).peer(HOST)


def test_a_channel_belongs_to_a_party_of_the_job():
    with pytest.raises(ProtocolViolation, match="one of the parties"):
        Channel(CLINIC, (BANK, SHOP), InMemoryTransport({BANK, SHOP}))


async def test_a_message_may_have_several_senders_and_receivers():
    async def guest(ch: Channel) -> None:
        await ch.send(Notice())

    async def other(ch: Channel) -> None:
        await ch.receive(Notice, BANK)

    _, transcript = await run_in_process(
        {GUEST: guest, HOST: other, ARBITER: other}, {BANK: (), SHOP: (), KEEPER: ()}
    )
    assert [said.address.receiver for said in transcript] == [SHOP, KEEPER]


@pytest.mark.parametrize("silent", [BANK, SHOP, CLINIC])
async def test_a_silent_party_is_named_with_what_was_awaited_of_it(silent: Party):
    inputs = {BANK: (3,), SHOP: (1,), CLINIC: (2,)}
    del inputs[silent]
    with pytest.raises(PartnerSilent) as error:
        await run_in_process(PROGRAMS, inputs, absent=(silent,), within=30.0)
    assert error.value.party == str(silent)
    assert error.value.kind == (Question.kind if silent == BANK else Answer.kind)
    assert error.value.seconds == 30.0
    assert f"{silent} did not send" in str(error.value)


async def test_parties_who_wait_for_each_other_are_a_deadlock():
    async def both(ch: Channel) -> None:
        await ch.receive(Answer if ch.me.role == GUEST else Question)

    with pytest.raises(Deadlock, match="every party waits"):
        await run_in_process({GUEST: both, HOST: both}, {BANK: (), SHOP: ()})


async def test_who_answers_is_enough_where_some_may_drop_out():
    async def guest(ch: Channel, at_least: int) -> list[Party]:
        await ch.send(Question(2))
        return list(await ch.receive_some(Answer, at_least))

    programs = {GUEST: guest, HOST: answer}
    outputs, _ = await run_in_process(programs, {BANK: (1,), SHOP: (1,)}, absent=(CLINIC,))
    assert outputs[BANK] == [SHOP]
    with pytest.raises(TooFewParties, match="at least 2"):
        await run_in_process(programs, {BANK: (2,), SHOP: (1,)}, absent=(CLINIC,))


async def test_the_first_error_of_any_party_ends_the_conversation():
    async def broken(ch: Channel, factor: int) -> None:
        await ch.receive(Question)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_in_process({GUEST: ask, HOST: broken}, {BANK: (3,), SHOP: (1,)})


async def test_a_body_of_another_kind_under_the_awaited_address_is_a_violation():
    ch = channel(BANK, SHOP)
    forged = Address(SHOP, BANK, Answer.kind, 0)
    await ch.transport.put(forged, wire.dumps(Question(1)))
    with pytest.raises(ProtocolViolation, match=r"host:shop sent a malformed message.*Question"):
        await ch.receive(Answer)


async def test_a_body_above_the_limit_of_the_channel_is_a_violation():
    ch = Channel(BANK, (BANK, SHOP), InMemoryTransport({BANK, SHOP}), max_bytes=10)
    await ch.transport.put(Address(SHOP, BANK, Answer.kind, 0), wire.dumps(Answer(2**900)))
    with pytest.raises(ProtocolViolation, match="allowed are 10"):
        await ch.receive(Answer)


async def test_progress_goes_to_who_watches_and_not_to_partners():
    seen: list[tuple[int, int, str]] = []

    async def program(ch: Channel) -> None:
        ch.progress(1, 2, "half")

    _, transcript = await run_in_process(
        {GUEST: program}, {BANK: ()}, on_progress=lambda *told: seen.append(told)
    )
    assert seen == [(1, 2, "half")]
    assert transcript == []


def test_a_message_without_a_docstring_reveals_nothing_to_read():
    class Mute(Message, sender=GUEST, to=HOST):
        number: int

    assert Mute.reveals == ""
    assert Question.reveals == "The host learns the number asked about."


def test_a_party_needs_a_site():
    with pytest.raises(ValueError, match="name of its site"):
        Party(GUEST, "")


def test_a_party_crosses_the_wire():
    assert wire.loads(wire.dumps(BANK), Party) == BANK


@pytest.mark.parametrize(
    "error",
    [
        errors.PartnerSilent("host:shop", "a.B", 3.0),
        errors.TooFewParties("a.B", 1, 2),
        errors.ColumnNotFound("y", ["a"]),
        errors.MissingIds(2, [0, 4]),
        errors.DuplicateIds(2, [3]),
        errors.IdTypeMismatch("string", "integer", "host:shop"),
        errors.NoCommonIds(),
        errors.TooFewCommonIds(3, 50),
        errors.LabelsNotBinary(3),
        errors.SingleClass(10),
        errors.ConstantColumn("x"),
        errors.AllMissingColumn("x"),
        errors.RefusedScheme("iterative", "it is broken", "paillier"),
        errors.UnknownAlgorithm("x", ["secureboost"]),
    ],
)
def test_an_error_survives_the_way_between_processes(error: errors.MlError):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error) != ""
    assert vars(again) == vars(error)


@pytest.mark.parametrize(
    "kind",
    [
        shares.Seed,
        scoring.MaskSeed,
        authenticated.InputMask,
        authenticated.Masks,
        authenticated.Triples,
        correlations.Sliced,
        integers.IntegerMatrix,
    ],
)
def test_secrets_are_in_no_text(kind: type) -> None:
    """Neither messages nor what parties keep of them show their fields."""
    empty = object.__new__(kind)
    for name in dataclasses.fields(kind):
        object.__setattr__(empty, name.name, "a secret")
    assert "a secret" not in repr(empty)
