"""The keys of a site: its account on the chain, its request key, its audit key, its anchor key.

`chain.json` is an Ethereum keystore v3; `request.pem` and `audit.pem` are Ed25519 keys in
encrypted PKCS8, `anchor.pem` is one of secp256k1.  The request key signs requests to partners and
receipts; the audit key signs checkpoints of the audit log, and the anchor key signs them for
contracts (`node.anchor_key`).  The account's key is decrypted only where it is asked for, since
only the sync process sends transactions.

An `Identity` is the keys at one time.  A rotation (`node.rotation`) puts a new key's file in the
place of the old one's; `node.site.Site.identity` then is another `Identity`.
"""

from __future__ import annotations

import contextlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node import anchor_key
from node.errors import Conflict, NotFound, Unauthenticated
from node.files import keep_private, make_private, sync_folder, write_private
from node.settings import Settings

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

# Purposes of keys, as the site registry names them.
REQUEST, AUDIT, ANCHOR = "request", "audit", "anchor"
PURPOSES = (REQUEST, AUDIT, ANCHOR)
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
Stamp = tuple[tuple[int, int], ...]  # tells key files from those that took their place
SCRYPT_COST = 2**18  # half a second to open the keystore; tests hand in less


def create_keys(home: Path, password: bytes, *, scrypt_cost: int = SCRYPT_COST) -> None:
    """Make the four keys of a new site; raises `Conflict` (``KeysExist``), replaces none."""
    folder = make_private(home / "keys")
    if existing := sorted(path.name for path in folder.iterdir()):
        raise Conflict(
            "KeysExist",
            f"{folder} holds {', '.join(existing)}; a lost key cannot be made again",
            hint="choose another home",
        )
    for purpose in PURPOSES:
        write_private(folder / f"{purpose}.pem", _encrypted(_new_key(purpose), password))
    write_private(folder / "chain.json", _new_account(password, scrypt_cost))


def add_missing_key(settings: Settings, password: bytes | None = None) -> bool:
    """Make the anchor key of a home from before there was one; whether it had none.

    Raises `NotFound` (``KeysMissing``) for a home without keys, `Unauthenticated`
    (``WrongPassword``): all its keys open with one password.
    """
    path = key_file(settings, ANCHOR)
    if path.is_file():
        return False
    if password is None:
        password = settings.password()
    _load_key(key_file(settings, AUDIT), password)
    keep_private(path, _encrypted(anchor_key.new_anchor_key(), password))
    return True


def _new_key(purpose: str) -> PrivateKey:
    return anchor_key.new_anchor_key() if purpose == ANCHOR else Ed25519PrivateKey.generate()


def _new_account(password: bytes, scrypt_cost: int) -> bytes:
    from eth_account import Account

    key = Account.create().key
    keystore = Account.encrypt(key, password.decode(), kdf="scrypt", iterations=scrypt_cost)
    return json.dumps(keystore).encode()


class Identity:
    """The keys of the site whose ``settings`` these are; secrets stay inside.

    Raises `NotFound` (``KeysMissing``) and `Unauthenticated` (``WrongPassword``).
    """

    def __init__(
        self,
        request: Ed25519PrivateKey,
        audit: Ed25519PrivateKey,
        anchor: EllipticCurvePrivateKey,
        chain: _Keystore,
        stamp: Stamp = (),
    ) -> None:
        self.stamp = stamp
        self._request = request
        self._audit = audit
        self._anchor = anchor
        self._chain = chain
        self.request_public = request.public_key().public_bytes_raw()
        self.audit_public = audit.public_key().public_bytes_raw()

    @classmethod
    def load(cls, settings: Settings, password: bytes | None = None) -> Identity:
        """``password`` is the one of `Settings.password` unless given."""
        if password is None:
            password = settings.password()
        return cls._read(settings, password, _Keystore(account_file(settings), password))

    def as_they_are(self, settings: Settings) -> Identity:
        """The keys that lie in the home now: this object unless one was replaced."""
        if (stamp := _stamp_of(settings)) == self.stamp:
            return self
        password, chain = self._chain.password, self._chain
        if stamp[-1] != self.stamp[-1]:  # opening an account takes half a second: not for others
            chain = _Keystore(account_file(settings), password)
        return self._read(settings, password, chain)

    def make_next_key(self, settings: Settings, purpose: str) -> PrivateKey:
        """The key that will follow, in a file; one that was made and not used yet is it."""
        path = next_key_file(settings, purpose)
        if not path.is_file():
            keep_private(path, _encrypted(_new_key(purpose), self._chain.password))
        return _load_key(path, self._chain.password)

    def next_public_key(self, settings: Settings, purpose: str) -> bytes | None:
        """Of the key that waits in a file to follow; None where none does."""
        path = next_key_file(settings, purpose)
        return public_bytes(_load_key(path, self._chain.password)) if path.is_file() else None

    def make_next_account(
        self, settings: Settings, *, scrypt_cost: int | None = None
    ) -> LocalAccount:
        """The account that will follow, in a file; one that was made and not used yet is it."""
        path = next_account_file(settings)
        if not path.is_file():
            cost = scrypt_cost or self._chain.scrypt_cost
            keep_private(path, _new_account(self._chain.password, cost))
        return _Keystore(path, self._chain.password).account

    @classmethod
    def _read(cls, settings: Settings, password: bytes, chain: _Keystore) -> Identity:
        stamp = _stamp_of(settings)  # before they are read: a change in between is met again
        request, audit, anchor = (
            _load_key(key_file(settings, each), password) for each in PURPOSES
        )
        if (
            isinstance(request, EllipticCurvePrivateKey)
            or isinstance(audit, EllipticCurvePrivateKey)
            or isinstance(anchor, Ed25519PrivateKey)
        ):
            raise Unauthenticated("WrongKey", f"{settings.keys} holds a key in another's file")
        return cls(request, audit, anchor, chain, stamp)

    @property
    def account(self) -> LocalAccount:
        """Signs transactions and grants; opening it takes half a second, once."""
        return self._chain.account

    @property
    def address(self) -> str:
        """The account's address, checksummed; needs no decryption."""
        return self._chain.address

    @cached_property
    def anchor_account(self) -> LocalAccount:
        """Signs heads of logs for contracts."""
        return anchor_key.account_of(self._anchor)

    @property
    def request_key(self) -> Ed25519PrivateKey:
        """For libraries that sign by themselves."""
        return self._request

    def sign(self, data: bytes) -> bytes:
        """Ed25519 with the request key; 64 bytes."""
        return self._request.sign(data)

    def sign_audit(self, data: bytes) -> bytes:
        """Ed25519 with the audit key; 64 bytes."""
        return self._audit.sign(data)

    def proof(self, purpose: str, digest: bytes) -> bytes:
        """A key's signature of its `key_proof_digest`: 64 bytes, of the "anchor" key 65."""
        keys: dict[str, PrivateKey] = {
            REQUEST: self._request,
            AUDIT: self._audit,
            ANCHOR: self._anchor,
        }
        return prove(keys[purpose], digest)

    def public_key(self, purpose: str) -> bytes:
        """The raw Ed25519 public key (32 bytes); of the "anchor" key the address (20 bytes)."""
        if purpose == ANCHOR:
            return self._anchor_address
        return {REQUEST: self.request_public, AUDIT: self.audit_public}[purpose]

    @cached_property
    def _anchor_address(self) -> bytes:
        return anchor_key.address_of(self._anchor)


class _Keystore:
    def __init__(self, path: Path, password: bytes) -> None:
        self._path, self.password = path, password
        self._stored = json.loads(_read(path))

    @property
    def scrypt_cost(self) -> int:
        """What opening it costs: the next account costs the same."""
        return int(self._stored["crypto"]["kdfparams"]["n"])

    @cached_property
    def address(self) -> str:
        from eth_utils.address import to_checksum_address

        return str(to_checksum_address(self._stored["address"]))

    @cached_property
    def account(self) -> LocalAccount:
        from eth_account import Account

        try:
            key = Account.decrypt(self._stored, self.password.decode())
        except ValueError as error:
            raise _wrong_password(self._path) from error
        account: LocalAccount = Account.from_key(key)
        return account


def key_file(settings: Settings, purpose: str) -> Path:
    """Where the key lies that this site signs with."""
    return settings.keys / f"{purpose}.pem"


def next_key_file(settings: Settings, purpose: str) -> Path:
    """Where the key lies that will take its place."""
    return settings.keys / f"{purpose}.next.pem"


def account_file(settings: Settings) -> Path:
    """Where the account lies that this site's transactions come from."""
    return settings.keys / "chain.json"


def next_account_file(settings: Settings) -> Path:
    """Where the account lies that will take its place."""
    return settings.keys / "chain.next.json"


def account_address(settings: Settings) -> str:
    """Of the account that this site's transactions come from; needs no password."""
    return _Keystore(account_file(settings), b"").address


def next_account_address(settings: Settings) -> str | None:
    """Of the account that waits in a file to follow; None where none does."""
    path = next_account_file(settings)
    return _Keystore(path, b"").address if path.is_file() else None


def take_next_account(settings: Settings) -> None:
    """Send with the next account from now on; the one before stays in a file of its address."""
    path = account_file(settings)
    kept = settings.keys / f"chain.{_Keystore(path, b'').address.lower()}.json"
    with contextlib.suppress(FileExistsError):
        os.link(path, kept)
    sync_folder(settings.keys)
    next_account_file(settings).rename(path)
    sync_folder(settings.keys)


def take_next_key(settings: Settings, purpose: str) -> None:
    """Sign with the next key from now on; the one before is gone."""
    next_key_file(settings, purpose).rename(key_file(settings, purpose))
    sync_folder(settings.keys)


def drop_next_key(settings: Settings, purpose: str) -> None:
    """Forget a key that will not follow."""
    next_key_file(settings, purpose).unlink(missing_ok=True)
    sync_folder(settings.keys)


def public_bytes(key: PrivateKey) -> bytes:
    """The raw Ed25519 public key (32 bytes); of an anchor key the address (20 bytes)."""
    if isinstance(key, EllipticCurvePrivateKey):
        return anchor_key.address_of(key)
    return key.public_key().public_bytes_raw()


def prove(key: PrivateKey, digest: bytes) -> bytes:
    """What shows that this site holds the key: its signature of 32 bytes."""
    if isinstance(key, EllipticCurvePrivateKey):
        return anchor_key.prove(key, digest)
    return key.sign(digest)


def _stamp_of(settings: Settings) -> Stamp:
    files = (*(key_file(settings, each) for each in PURPOSES), account_file(settings))
    return tuple((found.st_mtime_ns, found.st_ino) for found in map(_stat, files))


def _stat(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except FileNotFoundError as error:
        raise _missing(path) from error


def _encrypted(key: PrivateKey, password: bytes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def _load_key(path: Path, password: bytes) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), password)
    except (ValueError, TypeError) as error:
        raise _wrong_password(path) from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if isinstance(key, EllipticCurvePrivateKey) and anchor_key.is_anchor_key(key):
        return key
    raise Unauthenticated("WrongKey", f"{path} holds no Ed25519 or secp256k1 key")


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise _missing(path)
    return path.read_bytes()


def _missing(path: Path) -> NotFound:
    return NotFound("KeysMissing", f"{path} does not exist", hint="run `fatechain init` first")


def _wrong_password(path: Path) -> Unauthenticated:
    return Unauthenticated("WrongPassword", f"{path} cannot be opened with the password given")
