"""The client: refusals by name, one sender without gaps, transactions that may be repeated."""

import json
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from eth_abi.abi import encode

from chain import abi
from chain.calls import Call, Creation, Fees, Payment
from chain.client import GWEI, STUCK_BLOCKS, ChainClient
from chain.errors import (
    BlockUnknown,
    ChainError,
    ChainRefused,
    ChainUnavailable,
    ContractRefused,
    FeeCapExceeded,
    LogsRefused,
    NoAccount,
    NonceTaken,
    NotDeployed,
    TransactionFailed,
    TransactionStuck,
    WrongChain,
)
from chain.history import History
from chain.network import Network
from chain.testing import InProcessChain
from chain.testnet import dev_account
from tests.chain.world import World, admission, newcomer

NOBODY = "0x" + "11" * 32
STRANGER = "0x00000000000000000000000000000000000A11CE"


def admit(world: World, nonce: int) -> Call:
    return admission(world.network, newcomer(nonce), "new", nonce)


# ── reading


def test_refusal_has_the_name_and_values_of_the_solidity_error(world: World) -> None:
    with pytest.raises(ContractRefused) as caught:
        world.network.membership.member(NOBODY)
    assert (caught.value.error, caught.value.values) == ("MembershipUnknown", {"id": NOBODY})
    assert str(caught.value) == f"Membership.member refused: MembershipUnknown(id={NOBODY})"


def test_refusal_of_another_contract_on_the_way_is_decoded(world: World) -> None:
    with pytest.raises(ContractRefused) as caught:
        world.client(world.bank.account).simulate(admit(world, 9))
    assert caught.value.error == "ConsortiumNotAuthority"
    assert caught.value.values["caller"] == world.bank.account.address


@pytest.mark.parametrize(
    ("data", "error", "values"),
    [
        (bytes.fromhex("08c379a0") + encode(["string"], ["no"]), "Error", {"message": "no"}),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [0x11]), "Panic", {"code": 0x11}),
        (b"\x01\x02\x03\x04\x05", "Unknown", {"data": "0x0102030405"}),
        (bytes.fromhex("08c379a0"), "Unknown", {"data": "0x08c379a0"}),
        (b"", "Unknown", {"data": "0x"}),
    ],
)
def test_revert_data_is_told_as_far_as_it_is_known(
    data: bytes, error: str, values: dict[str, Any]
) -> None:
    found = abi.refusal(data, "JobRegistry", "start")
    assert (found.error, found.values) == (error, values)


def test_text_that_is_none_does_not_hide_what_stands_beside_it() -> None:
    site = (b"\1" * 32, "0x" + "11" * 20, b"\xff", b"http://\xc3(", 1, 7, 0)
    types = "(bytes32,address,bytes,bytes,uint8,uint64,uint64)"  # bytes are laid out as text is
    found = abi.decode_output("SiteRegistry", "site", encode([types], [site]))
    assert (found["name"], found["endpoint"], found["fromBlock"]) == ("\ufffd", "http://\ufffd(", 7)


def test_past_blocks_are_read_as_they_were(world: World, chain: InProcessChain) -> None:
    before = world.network.client.head().number
    world.send(world.authority, admit(world, 1))
    chain.mine(2)
    now, then = world.network.membership.members(), world.network.at(before).membership.members()
    assert len(now) == len(then) + 1
    assert world.network.membership.members(block=before) == then
    assert world.network.at(before).membership.members(block="latest") == now


def test_block_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(BlockUnknown, match="no block 999999"):
        world.network.client.block(999_999)
    with pytest.raises(BlockUnknown, match="no block 999999"):
        world.network.consortium.authority(block=999_999)


def test_address_without_a_consortium_is_named(world: World) -> None:
    with pytest.raises(NotDeployed, match="no Consortium at"):
        Network.open(world.network.client, STRANGER)
    with pytest.raises(NotDeployed, match="no Consortium at"):
        Network.open(world.network.client, world.network.jobs.address)


def test_wrong_chain_is_refused_before_anything_else(chain: InProcessChain) -> None:
    client = chain.client(0, expected_chain_id=1)
    with pytest.raises(WrongChain, match="chain 1"):
        client.head()
    with pytest.raises(WrongChain):
        client.transact(Payment(STRANGER, 1))


def test_client_without_an_account_only_reads(world: World, chain: InProcessChain) -> None:
    reader = chain.client()
    assert Network.open(reader, world.deployment.consortium).consortium.authority()
    with pytest.raises(NoAccount):
        reader.send(admit(world, 1))


def test_values_that_do_not_fit_their_type_are_refused_before_sending(world: World) -> None:
    for call in (
        world.network.jobs.start("0x12"),
        world.network.jobs.start("no hex"),
        world.network.consortium.set_minimum("key-bits", 2**256),
        world.network.consortium.set_minimum("a word of more than thirty-one characters", 1),
        Call("JobRegistry", "start", (), world.network.jobs.address),
    ):
        with pytest.raises(ValueError, match=r".+"):
            world.client(world.authority).simulate(call)


# ── sending


def test_receipt_holds_the_decoded_events(world: World) -> None:
    receipt = world.send(world.authority, admit(world, 1))
    event = receipt.event("MemberAdmitted")
    assert event.contract == "Membership"
    assert event.args["name"] == "new"
    assert (event.block_number, event.tx_hash) == (receipt.block_number, receipt.tx_hash)
    assert receipt.gas_used > 21_000
    with pytest.raises(KeyError):
        receipt.event("JobStarted")


def test_call_is_stored_as_json_and_taken_up_again(world: World) -> None:
    call = world.network.consents.grant(world.terms(nonce=2**255), "0x" + "00" * 65)
    assert Call.from_json(call.to_json()) == call
    assert json.loads(call.to_json())["function"] == "grant"


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"contract":1,"function":"","args":[],"address":""}']
)
def test_stored_call_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a stored call"):
        Call.from_json(text)


def test_broadcasting_again_is_no_error_before_and_after_mining(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0)
    chain.hold()
    signed = client.sign(admit(world, 1), client.nonce())
    assert client.find_receipt(signed.hash) is None
    assert client.broadcast(signed.raw) == client.broadcast(signed.raw) == signed.hash
    assert client.knows(signed.hash)
    chain.mine()
    assert client.broadcast(signed.raw) == signed.hash
    receipt = client.find_receipt(signed.hash)
    assert receipt is not None
    assert receipt.status


def test_nonce_that_another_transaction_took_is_named(world: World, chain: InProcessChain) -> None:
    client = chain.client(0)
    nonce = client.nonce()
    client.send(admit(world, 1), nonce)
    late = client.sign(admit(world, 2), nonce)
    with pytest.raises(NonceTaken):
        client.broadcast(late.raw)


def test_nonces_are_given_out_without_gaps_while_nothing_is_mined(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0)
    first = client.nonce("latest")
    chain.hold()
    sent = [client.send(admit(world, number)) for number in range(1, 5)]
    assert [tx.nonce for tx in sent] == list(range(first, first + 4))
    chain.hold(False)
    assert all(client.receipt(tx.hash).status for tx in sent)


def test_gap_left_by_a_lost_transaction_is_filled_with_it(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0)
    before = chain.snapshot()
    lost = client.send(admit(world, 1))
    chain.revert(before)
    assert not client.knows(lost.hash)
    following = client.send(admit(world, 2))
    assert following.nonce == lost.nonce + 1
    assert client.receipt(lost.hash).status
    assert client.receipt(following.hash).status


def test_transact_from_many_threads_uses_each_nonce_once(
    world: World, chain: InProcessChain
) -> None:
    client, barrier = chain.client(0), threading.Barrier(4)
    lock, receipts = threading.Lock(), []
    original = client._rpc._once

    def one_at_a_time(question: Any) -> Any:  # py-evm is not made for threads
        with lock:
            return original(question)

    client._rpc._once = one_at_a_time  # type: ignore[method-assign]

    def work(number: int) -> None:
        barrier.wait()
        receipts.append(client.transact(admit(world, number)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({receipt.tx_hash for receipt in receipts}) == 4


def test_refused_transaction_is_not_sent(world: World, chain: InProcessChain) -> None:
    client = chain.client(1)
    nonce = client.nonce()
    with pytest.raises(ContractRefused, match="ConsortiumNotAuthority"):
        client.transact(admit(world, 1))
    assert client.nonce() == nonce


def test_transaction_that_is_refused_only_when_mined_says_why(
    world: World, chain: InProcessChain
) -> None:
    one, other = chain.client(0), chain.client(0)
    chain.hold()
    first = one.send(admit(world, 1))
    late = other.sign(admit(world, 1), first.nonce + 1)
    other.broadcast(late.raw)
    chain.hold(False)
    receipt = other.receipt(late.hash)
    assert not receipt.status
    # The state before the block allowed it: both stood in the same block.
    with pytest.raises(TransactionFailed, match="reverted"):
        other._effective(admit(world, 1), receipt)
    with pytest.raises(ContractRefused, match="MembershipIdTaken"):
        other.simulate(admit(world, 1))


def test_fee_beyond_the_cap_is_not_paid(world: World, chain: InProcessChain) -> None:
    client = chain.client(0, fee_cap=GWEI)
    with pytest.raises(FeeCapExceeded, match="wei per gas"):
        client.send(admit(world, 1))


def test_raised_fees_grow_by_a_quarter_and_at_least_by_one() -> None:
    assert Fees(100, 10).raised() == Fees(125, 13)
    assert Fees(0, 0).raised() == Fees(1, 1)


class Pool:
    """A mempool that keeps transactions until one pays enough: py-evm has none of its own."""

    def __init__(self, client: ChainClient, enough: int) -> None:
        self.client = client
        self.enough = enough
        self.seen: list[str] = []
        self._broadcast = client.broadcast
        client.broadcast = self.broadcast  # type: ignore[method-assign]

    def broadcast(self, raw: str) -> str:
        self.seen.append(raw)
        if len(self.seen) >= self.enough:
            return self._broadcast(raw)
        return "0x"


def test_stuck_transaction_is_replaced_at_its_nonce_with_a_higher_fee(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0, stuck_after=0.0)
    pool = Pool(client, enough=5)
    nonce = client.nonce()
    assert client.transact(admit(world, 1)).status
    sent = [chain.web3.eth.account.recover_transaction(raw) for raw in pool.seen]
    assert set(sent) == {client.address}
    assert len(set(pool.seen)) == 3
    # Each is sent again as it is before it is better paid.
    assert pool.seen[0] == pool.seen[1] != pool.seen[2] == pool.seen[3] != pool.seen[4]
    assert client.nonce() == nonce + 1


def test_transaction_that_several_blocks_passed_over_twice_is_replaced_at_once(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0, stuck_after=3600.0, pause=lambda _: chain.mine())
    pool = Pool(client, enough=3)
    began = client.head().number
    receipt = client.transact(admit(world, 1), timeout=3600.0)
    assert receipt.status
    assert pool.seen[0] == pool.seen[1] != pool.seen[2]
    assert receipt.block_number - began <= 2 * (STUCK_BLOCKS + 2)


def test_transaction_that_stays_stuck_is_given_up_by_name(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0, stuck_after=0.0)
    Pool(client, enough=10**9)
    with pytest.raises(TransactionStuck, match="not mined"):
        client.transact(admit(world, 1), timeout=0.0)


def test_stuck_transaction_at_the_fee_cap_is_sent_again_as_it_is(
    world: World, chain: InProcessChain
) -> None:
    client = chain.client(0, stuck_after=0.0)
    client.fee_cap = client.fees().max_fee
    pool = Pool(client, enough=3)
    assert client.transact(admit(world, 1)).status
    assert len(set(pool.seen)) == 1


def test_contract_is_created_and_ether_is_paid(chain: InProcessChain) -> None:
    client = chain.client(0)
    receipt = client.transact(Creation("Consortium"))
    assert receipt.contract_address is not None
    assert client.has_code(receipt.contract_address)
    before = client.balance(STRANGER)
    client.transact(Payment(STRANGER, 7))
    assert client.balance(STRANGER) == before + 7


def test_errors_survive_pickling() -> None:
    for error in (
        ChainUnavailable("http://chain.example", "Timeout"),
        ContractRefused("JobUnknown", {"id": NOBODY}, "JobRegistry", "start"),
        WrongChain(1, 2),
        NonceTaken("0x1", "nonce too low"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again)) == (type(error), str(error))


# ── a bad connection


class Answers(HTTPServer):
    """An endpoint that gives these answers one after another, then 500; None breaks the line."""

    def __init__(self, *bodies: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies = list(bodies)
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        body = self.server.bodies.pop(0) if self.server.bodies else b""
        if body is None:
            return
        self.send_response(200 if body else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def endpoint() -> Iterator[Any]:
    running: list[Answers] = []

    def start(*bodies: bytes | None) -> Answers:
        server = Answers(*bodies)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def answer(result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 0, "result": result}).encode()


def test_read_is_repeated_once_when_the_connection_breaks(endpoint: Any) -> None:
    server = endpoint(None, answer("0x7a69"))
    assert ChainClient(server.url).chain_id == 31337
    assert server.asked == 2


@pytest.mark.parametrize(
    "body", [None, b"", b"<html>", b"[]", b"null", b"{}", b'{"result":"0xzz"}']
)
def test_useless_answer_means_unavailable(endpoint: Any, body: bytes | None) -> None:
    server = endpoint(*[body] * 4)
    with pytest.raises(ChainUnavailable):
        _ = ChainClient(server.url, timeout=2).chain_id


def test_transaction_is_not_sent_twice_by_itself(endpoint: Any) -> None:
    server = endpoint(answer("0x7a69"), answer(None), answer("0x0"), None)
    client = ChainClient(server.url, account=dev_account(0))
    signed = client.sign(Payment(STRANGER, 1), 0, Fees(GWEI, GWEI), 21_000)
    with pytest.raises(ChainUnavailable):
        client.broadcast(signed.raw)
    assert server.asked == 4


def test_refusal_of_the_endpoint_is_told_in_its_words(endpoint: Any) -> None:
    refusal = {"code": -32000, "message": "insufficient funds for gas"}
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "error": refusal}).encode()
    server = endpoint(answer("0x7a69"), answer(None), answer("0x0"), body, answer(None))
    client = ChainClient(server.url, account=dev_account(0))
    signed = client.sign(Payment(STRANGER, 1), 0, Fees(GWEI, GWEI), 21_000)
    with pytest.raises(ChainRefused, match="insufficient funds"):
        client.broadcast(signed.raw)


def test_nobody_at_the_url_means_unavailable() -> None:
    client = ChainClient("http://127.0.0.1:1", timeout=2)
    for ask in (client.head, lambda: client.balance(STRANGER), lambda: client.logs(0, 1, [])):
        with pytest.raises(ChainUnavailable, match=r"http://127\.0\.0\.1:1 does not answer"):
            ask()


def test_every_error_is_a_chain_error() -> None:
    from chain import errors

    found = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Exception)]
    assert all(issubclass(error, ChainError) for error in found)
    assert all(error.__name__ in (errors.__doc__ or "") for error in found)


def test_refused_events_name_their_blocks_and_the_endpoints_words(endpoint: Any) -> None:
    told = {"code": -32005, "message": "query returned more than 10000 results"}
    body = json.dumps({"jsonrpc": "2.0", "id": 0, "error": told}).encode()
    server = endpoint(answer("0x7a69"), body)
    with pytest.raises(LogsRefused, match="blocks 3 to 9: query returned") as caught:
        ChainClient(server.url).logs(3, 9, [STRANGER])
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.first, again.last, str(again)) == (3, 9, str(caught.value))


def test_history_is_asked_for_in_smaller_pieces_where_the_endpoint_refuses(endpoint: Any) -> None:
    told = {"code": -32602, "message": "Log response size exceeded"}
    refusal = json.dumps({"jsonrpc": "2.0", "id": 0, "error": told}).encode()
    server = endpoint(answer("0x7a69"), refusal, refusal, *[answer([])] * 4)
    assert History(ChainClient(server.url), [STRANGER]).read(1, 8) == []
    # 1-8 and 1-4 are refused; 1-2, 3-5 and 6-8 are given.
    assert server.asked == 6
