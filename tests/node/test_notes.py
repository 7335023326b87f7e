"""Signed notes against what their specifications and Go's implementation publish.

Vectors: https://c2sp.org/signed-note, https://c2sp.org/tlog-cosignature, and the tests of
golang.org/x/mod/sumdb/note and github.com/transparency-dev/formats.
"""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from node.audit.account_key import AccountKey, sign_as_account
from node.audit.checkpoint import Checkpoint, open_checkpoint, origin_of, sign_checkpoint
from node.audit.note_keys import CosignerKey, Ed25519Key, cosign, sign, time_of
from node.audit.notes import MAX_BYTES, MAX_SIGNATURES, Note, NoteKey, Signature, key_id
from node.audit.verifier_keys import parse_verifier_key, verifier_key
from node.errors import Invalid, NodeError, Refused
from node.identity import Identity

TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = "gQoUAtUUbI2E8kQzMPVAgOv5juF9nHT2JS/F1ccoMXM="
PETER_SIGNED = (
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
ENOCH_SIGNED = (
    "\u2014 EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTG"
    "wnWLox33WWd1RvMc+QQ=\n"
)
EXAMPLE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n\u2014 example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXpp"
    "zi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
SOFA = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
SOFA_NOTE = (
    f"{SOFA}\n\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4"
    "URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZ"
    "MHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)
SITE = "0x" + "5e" * 32
HEAD = Checkpoint(origin_of(SITE), 20852163, bytes(range(32)))
LATER = 1_900_000_000


def holding(seed: str) -> Identity:
    """The audit key of this seed; nothing else is asked of it."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed))
    nothing = cast("Any", None)
    return Identity(key, key, nothing, nothing)


@pytest.fixture(scope="module")
def log() -> Identity:
    return holding(base64.b64encode(b"l" * 32).decode())


@pytest.fixture(scope="module")
def witness() -> Identity:
    return holding(base64.b64encode(b"w" * 32).decode())


# ── Notes ────────────────────────────────────────────────────────────────────────────────────


def test_the_note_of_the_specification_opens_with_its_key() -> None:
    (found,) = Note.parse(EXAMPLE_NOTE).opened([parse_verifier_key(EXAMPLE)])
    assert (found.name, found.key_id.hex()) == ("example.com/foo", "530d903a")
    assert str(Note.parse(EXAMPLE_NOTE)) == EXAMPLE_NOTE


def test_our_signature_is_the_one_that_go_makes() -> None:
    line = sign(holding(PETER_SEED), "PeterNeumann", TEXT)
    assert str(Note(TEXT, (line,))) == f"{TEXT}\n{PETER_SIGNED}"


def test_two_keys_sign_one_note_and_each_is_verified() -> None:
    note = Note.parse(f"{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}")
    keys = [parse_verifier_key(PETER), parse_verifier_key(ENOCH)]
    assert [each.name for each in note.opened(keys)] == ["PeterNeumann", "EnochRoot"]


def test_the_signature_of_an_unknown_key_is_passed_over() -> None:
    note = Note.parse(f"{TEXT}\n{PETER_SIGNED}{ENOCH_SIGNED}{ENOCH_SIGNED}")
    assert [each.name for each in note.opened([parse_verifier_key(PETER)])] == ["PeterNeumann"]


def test_a_signature_that_stands_twice_counts_once() -> None:
    note = Note.parse(f"{TEXT}\n{PETER_SIGNED}{PETER_SIGNED}")
    assert len(note.opened([parse_verifier_key(PETER)])) == 1


def test_a_note_that_no_known_key_signed_says_nothing() -> None:
    with pytest.raises(Refused, match="NoteNotSigned"):
        Note.parse(f"{TEXT}\n{PETER_SIGNED}").opened([parse_verifier_key(ENOCH)])


def test_a_known_key_whose_signature_does_not_hold_condemns_the_note() -> None:
    forged = f"{PETER_SIGNED[:60]}ABCD{PETER_SIGNED[60:]}"
    keys = [parse_verifier_key(PETER), parse_verifier_key(ENOCH)]
    with pytest.raises(Refused, match="NoteForged"):
        Note.parse(f"{TEXT}\n{ENOCH_SIGNED}{forged}").opened(keys)


@pytest.mark.parametrize(
    "raw",
    [
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}\n{PETER_SIGNED[:-1]}",
        f"\x01{TEXT}\n{PETER_SIGNED}",
        b"\xff" + f"{TEXT}\n{PETER_SIGNED}".encode(),
        f"{TEXT}\n" + PETER_SIGNED.replace("PeterNeumann", "Bad Name"),
        f"{TEXT}\n" + PETER_SIGNED.replace("PeterNeumann", "Peter+Neumann"),
        f"{TEXT}\n" + PETER_SIGNED.replace("PeterNeumann", ""),
        f"{TEXT}\n{PETER_SIGNED}Unexpected line.\n",
        f"{TEXT}\r\n{PETER_SIGNED}",
        f"{TEXT}\n\u2014 PeterNeumann x08gow==\n",
        f"{TEXT}\n\u2014 PeterNeumann %%%\n",
        f"{TEXT}\n{PETER_SIGNED * (MAX_SIGNATURES + 1)}",
        f"{'a' * MAX_BYTES}\n\n{PETER_SIGNED}",
        "\ud800",
        "",
    ],
)
def test_what_is_no_note_is_refused(raw: str | bytes) -> None:
    with pytest.raises(Invalid, match="NoteMalformed"):
        Note.parse(raw)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_note_or_refused(raw: bytes) -> None:
    try:
        note = Note.parse(raw)
    except Invalid:
        return
    with pytest.raises(Refused):
        note.opened([parse_verifier_key(PETER)])


@given(st.data())
def test_a_note_altered_anywhere_is_refused_or_the_same(data: st.DataObject) -> None:
    whole = f"{TEXT}\n{PETER_SIGNED}".encode()
    at = data.draw(st.integers(0, len(whole) - 1))
    altered = whole[:at] + data.draw(st.binary(max_size=3)) + whole[at + 1 :]
    try:
        note = Note.parse(altered)
        note.opened([parse_verifier_key(PETER)])
    except NodeError:
        return
    assert note.text == TEXT


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1),
    st.lists(st.binary(min_size=5, max_size=90), min_size=1, max_size=16),
)
def test_a_note_comes_back_as_it_was_written(text: str, blobs: list[bytes]) -> None:
    lines = tuple(Signature(f"key/{n}", blob[:4], blob[4:]) for n, blob in enumerate(blobs))
    note = Note(f"{text}\n\nmore\n", lines)
    assert Note.parse(str(note)) == note


def test_a_key_that_signs_again_replaces_its_line(log: Identity) -> None:
    old, new = (cosign(log, "w", HEAD.text, time) for time in (LATER, LATER + 1))
    other = sign(log, "l", HEAD.text)
    assert Note(HEAD.text, (old, other)).signed(new).signatures == (other, new)


# ── Verifier keys ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key",
    [
        PETER,
        ENOCH,
        EXAMPLE,
        "TEST+7997405c+AQcC+FTVKf0jlTdHDY3rbevmnKxxPjigCXlVtGe6RIr6",
        "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2",
    ],
)
def test_a_published_verifier_key_comes_back_as_it_was(key: str) -> None:
    assert verifier_key(parse_verifier_key(key)) == key


def test_a_verifier_key_with_a_letter_changed_or_a_part_missing_is_refused() -> None:
    cut = [PETER[i:j] for i in range(0, len(PETER), 3) for j in range(i + 1, len(PETER), 5)]
    shifted = [f"{PETER[:i]}{chr(ord(PETER[i]) + 1)}{PETER[i + 1 :]}" for i in range(len(PETER))]
    for bad in [*cut, *shifted]:
        with pytest.raises(Invalid, match="VerifierKeyInvalid"):
            parse_verifier_key(bad)


@pytest.mark.parametrize(
    "key",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "bananas.sigstore.dev+12344556",
        "rekor.sigstore.dev+12345678+THIS_IS_NOT_BASE64!",
        "rekor.sigstore.dev+12345678+AwEB",
    ],
)
def test_a_key_of_another_length_or_type_is_refused(key: str) -> None:
    with pytest.raises(Invalid, match="VerifierKeyInvalid"):
        parse_verifier_key(key)


# ── Cosignatures ─────────────────────────────────────────────────────────────────────────────


def test_the_cosigned_checkpoint_of_the_specification_is_read() -> None:
    note = Note.parse(SOFA_NOTE)
    head = Checkpoint.parse(note.text)
    assert (head.origin, head.size) == ("example.com/behind-the-sofa", 20852163)
    assert time_of(note.signatures[1].blob) == 1679315147
    assert str(note) == SOFA_NOTE


def test_the_time_of_a_published_cosignature_is_read() -> None:
    raw = base64.b64decode(
        "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFi"
        "EBYJXORmnFBOBA=="
    )
    assert time_of(raw[4:]) == 1727964367


def test_what_a_witness_signs_is_what_the_specification_writes_out(witness: Identity) -> None:
    line = cosign(witness, "witness.example.com/w1", SOFA, 1679315147)
    key = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    told = f"cosignature/v1\ntime 1679315147\n{SOFA}".encode()
    assert line.blob == bytes.fromhex("00000000641850cb") + key.sign(told)
    public = key.public_key().public_bytes_raw()
    assert line.key_id == key_id("witness.example.com/w1", b"\x04" + public)


def test_a_cosigned_note_opens_with_the_witness_and_with_the_log(
    log: Identity, witness: Identity
) -> None:
    note = sign_checkpoint(log, SITE, HEAD.size, HEAD.root)
    both = str(Note.parse(note).signed(cosign(witness, "w", HEAD.text, LATER)))
    assert open_checkpoint(both, SITE, log.audit_public) == HEAD
    keys: list[NoteKey] = [
        Ed25519Key(HEAD.origin, log.audit_public),
        CosignerKey("w", witness.audit_public),
    ]
    assert len(Note.parse(both).opened(keys)) == 2


def test_a_cosignature_is_none_of_another_time(log: Identity, witness: Identity) -> None:
    line = cosign(witness, "w", HEAD.text, LATER)
    later = (LATER + 1).to_bytes(8, "big") + line.blob[8:]
    key = CosignerKey("w", witness.audit_public)
    assert key.verifies(HEAD.text, line.blob)
    assert not key.verifies(HEAD.text, later)
    assert not key.verifies(HEAD.text, b"\xff" + line.blob[1:])
    assert not key.verifies(HEAD.text, b"")


def test_a_signature_of_the_log_is_no_cosignature(log: Identity) -> None:
    name = HEAD.origin
    plain = sign(log, name, HEAD.text)
    forged = Signature(name, key_id(name, CosignerKey(name, log.audit_public).material), plain.blob)
    with pytest.raises(Refused, match="NoteForged"):
        Note(HEAD.text, (forged,)).opened([CosignerKey(name, log.audit_public)])


# ── Accounts ─────────────────────────────────────────────────────────────────────────────────

ACCOUNT = Account.from_key("0x" + "07" * 32)
CONTRACT = "0x" + "c0" * 20
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def account_key(chain_id: int = 31337, contract: str = CONTRACT) -> AccountKey:
    return AccountKey("anchor", ACCOUNT.address.lower(), chain_id, contract)


def test_an_account_signs_the_typed_data_that_a_contract_would_hash() -> None:
    line = sign_as_account(ACCOUNT, account_key(), HEAD.text, LATER)
    kind = keccak(b"Checkpoint(bytes32 logId,uint64 size,bytes32 root,uint64 time)")
    types = ["bytes32", "bytes32", "uint64", "bytes32", "uint64"]
    values = [kind, bytes.fromhex(SITE[2:]), HEAD.size, HEAD.root, LATER]
    domain_kind = keccak(
        b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
    )
    domain_types = ["bytes32", "bytes32", "bytes32", "uint256", "address"]
    domain_values = [
        domain_kind,
        keccak(b"FATE-Chain Checkpoint"),
        keccak(b"1"),
        31337,
        CONTRACT,
    ]
    domain = keccak(encode(domain_types, domain_values))
    digest = keccak(b"\x19\x01" + domain + keccak(encode(types, values)))
    found = Account._recover_hash(digest, signature=line.blob[8:])
    assert found == ACCOUNT.address
    assert time_of(line.blob) == LATER


def test_the_accounts_line_stands_beside_the_others(log: Identity, witness: Identity) -> None:
    note = Note.parse(sign_checkpoint(log, SITE, HEAD.size, HEAD.root)).signed(
        cosign(witness, "w", HEAD.text, LATER),
        sign_as_account(ACCOUNT, account_key(), HEAD.text, LATER),
    )
    again = parse_verifier_key(verifier_key(account_key()))
    assert again == account_key()
    assert again.material.startswith(b"\xff")
    assert len(Note.parse(str(note)).opened([again])) == 1
    assert open_checkpoint(str(note), SITE, log.audit_public) == HEAD


@pytest.mark.parametrize(
    "other",
    [
        account_key(chain_id=1),
        account_key(contract="0x" + "c1" * 20),
        AccountKey("anchor", "0x" + "11" * 20, 31337, CONTRACT),
    ],
)
def test_an_accounts_line_says_nothing_for_another_chain_contract_or_account(
    other: AccountKey,
) -> None:
    line = sign_as_account(ACCOUNT, account_key(), HEAD.text, LATER)
    assert account_key().verifies(HEAD.text, line.blob)
    assert not other.verifies(HEAD.text, line.blob)


def test_an_accounts_signature_has_one_form() -> None:
    blob = sign_as_account(ACCOUNT, account_key(), HEAD.text, LATER).blob
    r, s, v = blob[8:40], int.from_bytes(blob[40:72], "big"), blob[72]
    high = blob[:8] + r + (ORDER - s).to_bytes(32, "big") + bytes([55 - v])
    for bad in (high, blob[:72] + bytes([v - 27]), blob[:72], blob + b"\0", blob[:8] + bytes(65)):
        assert not account_key().verifies(HEAD.text, bad)


@given(st.binary(max_size=80))
def test_any_bytes_are_no_signature_of_an_account(blob: bytes) -> None:
    assert not account_key().verifies(HEAD.text, blob)
    assert not account_key().verifies(SOFA, blob)


# ── Checkpoints ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("20852163", "020852163"),
        ("20852163", "-1"),
        ("20852163", "9" * 19),
        ("20852163", str(2**60)),
        ("20852163", str(2**53)),
        ("20852163", "\u0662"),
        ("20852163", "0"),
        ("2I=\n", "2J=\n"),
        ("2I=\n", "2I=\nextension\n"),
        ("2I=\n", "\n"),
        ("example.com/behind-the-sofa\n", "\n"),
    ],
)
def test_a_head_that_is_not_in_its_one_form_is_refused(old: str, new: str) -> None:
    with pytest.raises(Invalid, match="CheckpointInvalid"):
        Checkpoint.parse(SOFA.replace(old, new))


def test_the_checkpoint_of_another_log_is_refused_though_the_key_is_right(log: Identity) -> None:
    other = Checkpoint(origin_of("0x" + "0b" * 32), 1, bytes(32))
    note = str(Note(other.text, (sign(log, origin_of(SITE), other.text),)))
    with pytest.raises(Invalid, match="another log"):
        open_checkpoint(note, SITE, log.audit_public)


@given(st.text(max_size=200))
def test_any_text_is_a_head_in_its_one_form_or_refused(text: str) -> None:
    try:
        head = Checkpoint.parse(text)
    except Invalid:
        return
    assert head.text == text
