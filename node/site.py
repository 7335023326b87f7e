"""A site as every one of its processes opens it: settings, database, keys, chain, log.

Nothing is connected before it is used, and nothing heavy is imported before it is needed: the
worker's parent process stays small.
"""

from __future__ import annotations

import logging
import secrets
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from node.directory import ChainDirectory, Directory, not_registered
from node.doorbell import Doorbell
from node.errors import Conflict
from node.files import make_private, write_private
from node.identity import REQUEST, SCRYPT_COST, Identity, add_missing_key, create_keys
from node.settings import FILE_NAME, Settings
from node.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chain.client import ChainClient
    from chain.effects import Effect
    from chain.ledger import Agreed
    from chain.network import Network
    from chain.proposals import Action
    from node.audit.log import AuditLog
    from node.blocktime import BlockTimes
    from node.inbox import Inbox
    from node.peers import Peers
    from node.previews import Previews

log = logging.getLogger(__name__)


class Site:
    """One institution's node.  Close it, or use it as a context manager."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        identity: Identity,
        *,
        directory: Directory | None = None,
    ) -> None:
        self.store = store
        self.settings = settings
        self._settings_seen: tuple[int, int] | None = None  # it may have changed since it was read
        self._identity = identity
        self.doorbell = Doorbell(settings.redis_url)
        self.directory: Directory = directory or ChainDirectory(
            self.network, confirmations=settings.confirmations
        )
        self._network: Network | None = None
        self._key_ids: dict[tuple[str, str, bytes], str] = {}

    @classmethod
    def create(
        cls,
        home: Path,
        *,
        password: str | None = None,
        scrypt_cost: int = SCRYPT_COST,
        **settings: Any,
    ) -> Self:
        """Make the folders, keys, secrets, settings and database of a new site, and open it.

        Without a ``password`` a random one is written to ``secrets/password``; a given one is
        kept nowhere.  Raises `Conflict` (``SiteExists``) if the home has settings already.
        """
        loaded = Settings.load(home, **settings)
        if (loaded.home / FILE_NAME).exists():
            raise Conflict(
                "SiteExists", f"{loaded.home} is the home of a site", hint="choose another folder"
            )
        for folder in loaded.folders:
            make_private(folder)
        if password is None:
            password = secrets.token_urlsafe(32)
            write_private(loaded.secrets / "password", password.encode())
        create_keys(loaded.home, password.encode(), scrypt_cost=scrypt_cost)
        write_private(loaded.secrets / "operator-token", secrets.token_urlsafe(32).encode())
        # Last: a home with settings is a whole one.
        loaded.save()
        return cls.open(loaded.home, password=password)

    @classmethod
    def open(
        cls, home: Path, *, password: str | None = None, directory: Directory | None = None
    ) -> Self:
        """Open the site at ``home`` and bring its database up to date.

        ``directory`` stands in for the chain's where a test brings its own.
        """
        from node.migrations import migrate

        settings = Settings.load(home)
        secret = None if password is None else password.encode()
        if add_missing_key(settings, secret):
            log.warning("this home got an anchor key: run `fatechain key rotate anchor` once")
        identity = Identity.load(settings, secret)
        store = Store(settings.database_url)
        migrate(store)
        return cls(settings, store, identity, directory=directory)

    @property
    def settings(self) -> Settings:
        """As they were read at start; those of an unregistered site follow their file.

        The sync process registers the site when its member is admitted, and writes its id there:
        the site's other processes then know it, too, without being started again.
        """
        if (
            self._settings.site_id is None
            and (seen := _stamp(self._settings)) != self._settings_seen
        ):
            self.settings = Settings.load(self._settings.home)
            self._settings_seen = seen
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self._settings_seen = _stamp(settings)
        # Audit entries are recorded in any transaction of this store and name their source.
        self.store.name_source(settings.site_id or f"urn:fatechain:{settings.name}")

    @property
    def id(self) -> str:
        """The site's id; raises `Conflict` (``NotRegistered``)."""
        if self.settings.site_id is None:
            raise not_registered()
        return self.settings.site_id

    @property
    def is_registered(self) -> bool:
        return self.settings.site_id is not None

    @property
    def identity(self) -> Identity:
        """The keys that lie in the home now; one `Identity` signs with the same keys for ever.

        Whoever names a key beside its signature takes both from one of them.
        """
        self._identity = self._identity.as_they_are(self._settings)
        return self._identity

    def key_id(self, purpose: str = REQUEST, identity: Identity | None = None) -> str:
        """The id on the chain of this site's key for "request", "audit" or "anchor".

        Raises `Conflict` (``NotRegistered``); it is computed, not looked up.
        """
        public = (identity or self.identity).public_key(purpose)
        known = (self.id, purpose, public)
        if known not in self._key_ids:
            self._key_ids[known] = self.directory.key_id(*known)
        return self._key_ids[known]

    def change(self, **settings: Any) -> None:
        """Save changed settings (``site_id`` after registration) and go on with them."""
        self.settings = self.settings.change(**settings)

    def network(self) -> Network:
        """The consortium's contracts, to read.

        Raises `chain.errors.ChainUnavailable`, and `Conflict` (``NotConfigured``) without a
        consortium.  Only the sync process opens a client that can send.
        """
        if self._network is None:
            from chain.network import Network

            if self.settings.consortium is None:
                raise Conflict(
                    "NotConfigured",
                    "no consortium is set",
                    hint="set consortium, or run `fatechain init` with --network network.json",
                )
            self._network = Network.open(self.client(), self.settings.consortium)
        return self._network

    def client(self, account: Any = None) -> ChainClient:
        """A new client to the chain; one with an ``account`` is the sync process's alone."""
        from chain.client import ChainClient

        return ChainClient(
            self.settings.rpc_url, account=account, expected_chain_id=self.settings.chain_id
        )

    def simulate(self, network: Network, actions: Sequence[Action]) -> Effect:
        """What calls would do if the members had passed them, tried out on a copy of the chain.

        Raises `chain.errors.ForkFailed`, ChainUnavailable.
        """
        from chain.effects import simulate

        return simulate(network.client, network, actions)

    @cached_property
    def previews(self) -> Previews:
        """What open proposals would do now."""
        from node.previews import Previews

        return Previews(self)

    @cached_property
    def block_times(self) -> BlockTimes:
        from node.blocktime import BlockTimes

        return BlockTimes(self.network)

    @cached_property
    def agreed(self) -> Agreed:
        """What never changes of jobs and models."""
        from chain.ledger import Agreed

        return Agreed(self.network)

    @cached_property
    def peers(self) -> Peers:
        """Signed requests to the other sites."""
        from node.peers import Peers

        return Peers(self)

    @cached_property
    def inbox(self) -> Inbox:
        """What other sites put here."""
        from node.inbox import Inbox

        return Inbox(self)

    @cached_property
    def log(self) -> AuditLog:
        """The audit log with its proofs."""
        from node.audit.log import AuditLog

        return AuditLog(self.store, self.settings.log)

    def close(self) -> None:
        self.doorbell.close()
        self.store.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _stamp(settings: Settings) -> tuple[int, int] | None:
    """Tells one state of the settings file from the next; None where there is none."""
    try:
        found = (settings.home / FILE_NAME).stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino
