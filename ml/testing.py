"""What every algorithm must pass, after scikit-learn's ``check_estimator``.

    async def test_secureboost_keeps_its_promises():
        await check_algorithm(ALGORITHM, Case(params, tables, centralised), page.read_text())

`view` and `heard` give what one party received in a run: tests compare it with what the preface
of a protocol says that the party learns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from ml import wire
from ml.algorithm import Algorithm
from ml.errors import PartnerSilent, ProtocolViolation, WireError
from ml.federation import (
    GUEST,
    Channel,
    InMemoryTransport,
    Message,
    Party,
    Program,
    Role,
    Said,
    Transcript,
    run_in_process,
)
from ml.table import Table

M = TypeVar("M", bound=Message)
Scores = NDArray[np.float64]
Inputs = tuple[Any, ...]


@dataclass(frozen=True)
class Case:
    """One small problem to run an algorithm on."""

    params: BaseModel
    tables: Mapping[Party, Table]  # the same rows in the same order at every party
    centralised: Callable[[BaseModel, Mapping[Party, Table]], Scores]  # on all columns at once
    tolerance: float = 1e-6  # absolute, of a score


async def check_algorithm(algorithm: Algorithm, case: Case, page: str) -> None:
    """Run all checks; ``page`` is the text of ``docs/protocols/<name>.md``.

    Raises `AssertionError` that says which promise is broken.
    """
    check_messages_say_what_they_reveal(algorithm.messages)
    check_params_round_trip(case.params)
    await check_no_role_speaks_for_another(algorithm.messages, tuple(case.tables))
    run = await _run(algorithm, case)
    await check_a_silent_party_is_named(algorithm.fit, run.fit_inputs, run.fit_transcript)
    await check_a_silent_party_is_named(
        algorithm.predict, run.predict_inputs, run.predict_transcript
    )
    check_federated_equals_centralised(run.scores, case)
    check_parts_round_trip(algorithm, run.parts)
    check_bodies_are_of_their_kind(run.transcript, algorithm.messages)
    check_conversation_is_declared(run.transcript, algorithm.messages)
    check_page_shows_the_conversation(page, run.transcript, algorithm.messages)


# --- what a party saw -----------------------------------------------------------------------


def view(transcript: Transcript, party: Party) -> list[Said]:
    """Everything that ``party`` received, in order."""
    return [said for said in transcript if said.address.receiver == party]


def heard(transcript: Transcript, party: Party, kind: type[M]) -> list[M]:
    """Every message of ``kind`` that ``party`` received, decoded, in order."""
    return [
        wire.loads(said.body, kind)
        for said in view(transcript, party)
        if said.address.kind == kind.kind
    ]


# --- the pages in docs/protocols ------------------------------------------------------------


def sequence_diagram(transcript: Transcript, messages: Sequence[type[Message]]) -> str:
    """The conversation by roles as a Mermaid diagram: each kind once, in declared order.

    Kinds that nobody said are left out.  How often a kind is said depends on the data, and who of
    two independent speakers comes first on chance; so neither is drawn.
    """
    routes: dict[str, list[tuple[Role, Role]]] = {}
    for said in transcript:
        route = (said.address.sender.role, said.address.receiver.role)
        if route not in (known := routes.setdefault(said.address.kind, [])):
            known.append(route)
    roles = [role for role in Role if any(role in r for known in routes.values() for r in known)]
    lines = ["sequenceDiagram", *(f"    participant {role}" for role in roles)]
    for message in messages:
        for sender, receiver in sorted(routes.get(message.kind, [])):
            lines.append(f"    {sender}->>{receiver}: {message.__name__}")
    return "\n".join(lines)


def messages_table(messages: Sequence[type[Message]]) -> str:
    """What each message reveals, as a Markdown table."""
    rows = ["| message | from | to | what its receiver learns |", "| --- | --- | --- | --- |"]
    for m in messages:
        said = " ".join(m.reveals.split())
        rows.append(
            f"| {m.__name__} | {', '.join(m.senders)} | {', '.join(m.receivers)} | {said} |"
        )
    return "\n".join(rows)


# --- the checks -----------------------------------------------------------------------------


def check_messages_say_what_they_reveal(messages: Sequence[type[Message]]) -> None:
    """Every message carries a docstring for the data owner who is asked to consent."""
    mute = [m.__name__ for m in messages if not m.reveals]
    assert not mute, f"messages without a docstring: {', '.join(mute)}"


def check_params_round_trip(params: BaseModel) -> None:
    """Parameters survive JSON, cannot be changed, and refuse what they do not know."""
    kind = type(params)
    assert kind.model_validate_json(params.model_dump_json()) == params, "params change in JSON"
    assert kind.model_config.get("frozen"), f"{kind.__name__} is not frozen"
    assert kind.model_config.get("extra") == "forbid", f"{kind.__name__} takes unknown fields"


async def check_no_role_speaks_for_another(
    messages: Sequence[type[Message]], parties: tuple[Party, ...]
) -> None:
    """A channel refuses to send, and to wait for, what its role may not."""
    for message in messages:
        for me in parties:
            channel = Channel(me, parties, InMemoryTransport(set(parties)))
            if me.role not in message.senders:
                blank = object.__new__(message)  # refused before a field is looked at
                await _is_refused(channel.send(blank), f"{me} could send {message.kind}")
            if me.role not in message.receivers:
                await _is_refused(channel.receive(message), f"{me} could receive {message.kind}")


async def check_a_silent_party_is_named(
    programs: Mapping[Role, Program], inputs: Mapping[Party, Inputs], transcript: Transcript
) -> None:
    """Whoever speaks in ``transcript`` is named when it does not."""
    for silent in dict.fromkeys(said.address.sender for said in transcript):
        others = {party: given for party, given in inputs.items() if party != silent}
        named = "nobody"
        try:
            await run_in_process(programs, others, absent=(silent,))
        except PartnerSilent as error:
            named = error.party
        assert named == str(silent), f"{silent} was silent, {named} was named"


def check_federated_equals_centralised(scores: Scores, case: Case) -> None:
    """The guest's scores are those of the same computation on all columns in one place."""
    expected = case.centralised(case.params, case.tables)
    assert scores.shape == expected.shape, f"{scores.shape} scores, {expected.shape} expected"
    worst = float(np.max(np.abs(scores - expected)))
    assert worst <= case.tolerance, f"scores differ by {worst:g} from the centralised ones"


def check_parts_round_trip(algorithm: Algorithm, parts: Mapping[Party, Any]) -> None:
    """Every part of the model survives its bytes, and only the role it belongs to can load it."""
    for party, part in parts.items():
        data = algorithm.dump_model(part)
        again = algorithm.load_model(party.role, data)
        assert algorithm.dump_model(again) == data, f"the part of {party} changes when stored"
        for role, kind in algorithm.parts.items():
            if kind is not type(part):
                _is_no(data, kind, f"{role} could load the part of {party}")


def check_bodies_are_of_their_kind(
    transcript: Transcript, messages: Sequence[type[Message]]
) -> None:
    """The body of one message is refused where another is awaited."""
    first = {said.address.kind: said.body for said in transcript}
    for kind, body in first.items():
        for other in messages:
            if other.kind != kind:
                _is_no(body, other, f"a {kind} was taken for a {other.kind}")


def check_conversation_is_declared(
    transcript: Transcript, messages: Sequence[type[Message]]
) -> None:
    """What is said is what is declared, and each party first says its kinds in that order."""
    declared = [m.kind for m in messages]
    said = {entry.address.kind for entry in transcript}
    assert said <= set(declared), f"said but not declared: {sorted(said - set(declared))}"
    assert set(declared) <= said, f"declared but never said: {sorted(set(declared) - said)}"
    for speaker in {entry.address.sender for entry in transcript}:
        order = list(
            dict.fromkeys(e.address.kind for e in transcript if e.address.sender == speaker)
        )
        expected = [kind for kind in declared if kind in order]
        assert order == expected, f"{speaker} speaks in the order {order}, declared is {expected}"


def check_page_shows_the_conversation(
    page: str, transcript: Transcript, messages: Sequence[type[Message]]
) -> None:
    """The page in ``docs/protocols`` holds the diagram and the table of this very run."""
    for part in (
        f"```mermaid\n{sequence_diagram(transcript, messages)}\n```",
        messages_table(messages),
    ):
        assert part in page, f"the page does not hold this; paste it there:\n{part}"


# --- one run --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """A model trained, stored, loaded again and used on the same rows."""

    fit_inputs: Mapping[Party, Inputs]
    fit_transcript: Transcript
    predict_inputs: Mapping[Party, Inputs]
    predict_transcript: Transcript
    parts: Mapping[Party, Any]
    scores: Scores

    @property
    def transcript(self) -> Transcript:
        return self.fit_transcript + self.predict_transcript


async def _run(algorithm: Algorithm, case: Case) -> _Run:
    fit_inputs = {p: (case.params, table) for p, table in case.tables.items()}
    parts, trained = await run_in_process(algorithm.fit, fit_inputs)
    predict_inputs = {
        p: (case.params, algorithm.load_model(p.role, algorithm.dump_model(parts[p])), table)
        for p, table in case.tables.items()
    }
    outputs, predicted = await run_in_process(algorithm.predict, predict_inputs)
    [scores] = [output for party, output in outputs.items() if party.role == GUEST]
    return _Run(fit_inputs, trained, predict_inputs, predicted, parts, scores)


async def _is_refused(coroutine: Any, otherwise: str) -> None:
    try:
        await coroutine
    except ProtocolViolation:
        return
    raise AssertionError(otherwise)


def _is_no(body: bytes, kind: type, otherwise: str) -> None:
    try:
        wire.loads(body, kind)
    except WireError:
        return
    raise AssertionError(otherwise)
