"""What a site's operator puts on the chain: the site itself, datasets by commitment, grants.

Each use case asks the chain first whether it would take the call (so a refusal is told at once and
leaves nothing behind), then records in one transaction what it means here, the audit entry and
the transaction that `fatechain sync` will send.  Ids are known before they are mined; with a `key`
(the Idempotency-Key of a request) they are the same however often the request is repeated.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chain.ids import ZERO_ID, new_nonce
from node.errors import Conflict, Invalid, NotFound, Refused
from node.identity import PURPOSES
from node.store import GrantTerms as KeptTerms
from node.store import LocalDataset
from node.submission import Submitted, is_open, rehearse, submit

if TYPE_CHECKING:
    from chain.consents import GrantTerms
    from chain.network import Network
    from chain.sites import KeyInput
    from node.identity import Identity
    from node.site import Site

SITE_NONCE = 0  # an account operates one site: its id is the same however often it is asked for
DEFAULT_EXPIRY_SECONDS = 30 * 24 * 3600
BUDGET_SHARE = 10  # a grant allows one product vector per ten rows unless it says otherwise
MAX_NAME = 120
COLUMN_RULES = ("join", "protocol", "none")
ALL = "all"  # the grantee that every member is


# ── The site ─────────────────────────────────────────────────────────────────────────────────


def register_site(site: Site, roles: tuple[str, ...], name: str | None = None) -> Submitted:
    """Register this site with its request, audit and anchor key at the endpoint its settings name.

    A registration that stands and says the same, or is on its way, is this one.  Raises `Refused`
    (``MemberNotActive``) unless its account is a member's, and `Conflict` for a site that is
    registered with another name or other roles.
    """
    network = site.network()
    identity, settings = site.identity, site.settings
    id, stands = site_on_chain(network, identity.address)
    submitted = Submitted(id, f"site.register:{id}")
    shown, wanted = name or settings.name, _role_set(roles)
    if stands and not _says(network, id, shown, wanted):
        raise Conflict(
            "Conflict",
            "this site is registered with another name or other roles",
            found=id,
            hint="see `fatechain site show`; change its endpoint with `fatechain site endpoint`",
        )
    if settings.site_id == id and is_open(site, submitted.intent):
        return submitted
    keys = tuple(proven_key(network, identity, id, purpose) for purpose in PURPOSES)
    call = network.sites.register(
        identity.address, shown, settings.endpoint, wanted, keys, SITE_NONCE
    )
    rehearse(site, call)
    site.change(site_id=id)
    facts = {"name": shown, "endpoint": settings.endpoint, "roles": list(roles)}
    return submit(site, submitted, call, "site.registered", facts)


def site_on_chain(network: Network, account: str) -> tuple[str, bool]:
    """The id of the site that `account` registers, and whether it is on the chain."""
    from chain.sites import site_id

    id = site_id(network.client.chain_id, network.sites.address, account, SITE_NONCE)
    return id, is_known(network, id)


def is_known(network: Network, id: str) -> bool:
    """Whether there is such a site, retired or not."""
    from chain.errors import ContractRefused

    try:
        network.sites.site(id)
    except ContractRefused:
        return False
    return True


def _says(network: Network, id: str, name: str, roles: Any) -> bool:
    found = network.sites.site(id)
    return (found.name, found.roles) == (name, roles)


def proven_key(network: Network, identity: Identity, site_id: str, purpose: str) -> KeyInput:
    """A key of this identity with its proof of possession for the site `site_id`."""
    from chain.sites import KeyInput, key_proof_digest

    public, registry = "0x" + identity.public_key(purpose).hex(), network.sites.address
    digest = key_proof_digest(network.client.chain_id, registry, site_id, purpose, public)
    signed = identity.proof(purpose, bytes.fromhex(digest.removeprefix("0x")))
    return KeyInput(purpose, public, "0x" + signed.hex())


def set_endpoint(site: Site, endpoint: str) -> Submitted:
    """Tell the consortium where this site is now; its settings change with it."""
    network = site.network()
    call = network.sites.set_endpoint(site.id, endpoint)
    rehearse(site, call)
    site.change(endpoint=endpoint)
    submitted = Submitted(site.id, f"site.endpoint:{site.id}:{_short(endpoint)}")
    return submit(site, submitted, call, "site.registered", {"endpoint": endpoint})


def _role_set(roles: tuple[str, ...]) -> Any:
    from chain.sites import SiteRole

    found = SiteRole(0)
    for role in roles:
        name = role.upper().replace("-", "_")
        if name not in SiteRole.__members__:
            allowed = [member.lower().replace("_", "-") for member in SiteRole.__members__]
            raise Invalid("InvalidRequest", "no such role of a site", found=role, allowed=allowed)
        found |= SiteRole[name]
    return found


# ── Datasets ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Commitment:
    """What is published of a file, and the file."""

    path: Path
    key: bytes
    schema: dict[str, Any]
    schema_digest: str
    rows_root: str
    rows: int
    columns: int
    file_digest: str


def register_dataset(
    site: Site,
    path: str,
    name: str,
    *,
    id_column: str = "id",
    label: str | None = None,
    key: str | None = None,
) -> Submitted:
    """Commit to the rows of a file and register the commitment; no row leaves this site.

    Raises `Invalid` for a file that is no table (with the code of what is wrong with it) and
    `Refused` (``PathNotAllowed``) for one outside the data folder.
    """
    from chain.datasets import dataset_id

    _check_name(name)
    network = site.network()
    nonce = nonce_of(key)
    id = dataset_id(network.client.chain_id, network.datasets.address, site.identity.address, nonce)
    submitted = Submitted(id, f"dataset.register:{id}")
    if is_open(site, submitted.intent):
        return submitted
    made = _commit(data_file(site.settings.data, path), id_column, label)
    call = network.datasets.register(
        site.id, name, made.schema_digest, made.rows_root, made.rows, made.columns, nonce
    )
    rehearse(site, call)
    row = _local(id, 1, name, id_column, label, made)
    return submit(site, submitted, call, "dataset.registered", _published(made, 1, name), row)


def add_version(site: Site, dataset: str, path: str) -> Submitted:
    """Register the next version of a dataset of this site: same columns, other rows."""
    network = site.network()
    with site.store.read() as session:
        first = session.get(LocalDataset, (dataset, 1))
    if first is None:
        raise NotFound("DatasetUnknown", "this site has no such dataset", found=dataset)
    made = _commit(data_file(site.settings.data, path), first.id_column, first.label_column)
    if made.schema_digest != first.schema_digest:
        raise Invalid(
            "DatasetMismatch",
            "a version has the columns of the versions before",
            found=made.schema,
            allowed=first.schema,
            hint="register it as a dataset of its own",
        )
    version = network.datasets.dataset(dataset).versions + 1
    call = network.datasets.add_version(
        dataset, made.schema_digest, made.rows_root, made.rows, made.columns
    )
    rehearse(site, call)
    submitted = Submitted(dataset, f"dataset.version:{dataset}:{version}")
    row = _local(dataset, version, first.name, first.id_column, first.label_column, made)
    facts = _published(made, version, first.name)
    return submit(site, submitted, call, "dataset.registered", facts, row)


def withdraw_version(site: Site, dataset: str, version: int) -> Submitted:
    """Withdraw a version: jobs with it may neither start nor go on."""
    call = site.network().datasets.withdraw_version(dataset, version)
    rehearse(site, call)
    submitted = Submitted(dataset, f"dataset.withdraw:{dataset}:{version}")
    facts = {"version": version, "withdrawn": True}
    return submit(site, submitted, call, "dataset.registered", facts)


def data_file(folder: Path, path: str) -> Path:
    """The file that a request names.

    Relative names are below the data folder; absolute ones must lie there, too.  The operator
    allows a folder elsewhere by a symbolic link to it in the data folder: whoever holds only the
    token cannot have the node read what it finds on the machine.
    """
    try:
        wanted = (folder / path).resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long, NUL, links in a circle
        raise _no_path(path) from error
    roots = [folder.resolve()]
    roots += [entry.resolve() for entry in sorted(folder.iterdir()) if entry.is_symlink()]
    if not any(wanted == root or root in wanted.parents for root in roots):
        raise Refused(
            "PathNotAllowed",
            "the file lies outside the site's data folder",
            found=path,
            allowed=[str(root) for root in roots],
            hint="copy the file into the data folder, or link its folder there",
        )
    try:
        is_file = wanted.is_file()
    except OSError as error:
        raise _no_path(path) from error
    if not is_file:
        raise NotFound("NotFound", "there is no such file in the data folder", found=path)
    return wanted


def _no_path(path: str) -> Invalid:
    return Invalid("InvalidRequest", "no file can have this path", found=path[:200])


def _commit(path: Path, id_column: str, label: str | None) -> _Commitment:
    from ml.errors import DataError
    from ml.table import KEY_BYTES, commit_rows, read_csv

    key = secrets.token_bytes(KEY_BYTES)
    with path.open("rb") as file:
        file_digest = "0x" + hashlib.file_digest(file, "sha256").hexdigest()
    try:
        table = read_csv(path, id=id_column, label=label)
    except DataError as error:
        raise Invalid(type(error).__name__, str(error), found=path.name) from error
    commitment = commit_rows(table, key)
    return _Commitment(
        path=path,
        key=key,
        schema=table.schema.to_json(),
        schema_digest=commitment.schema_digest,
        rows_root=commitment.root,
        rows=commitment.row_count,
        columns=len(table.schema.features),
        file_digest=file_digest,
    )


def _local(
    id: str, version: int, name: str, id_column: str, label: str | None, made: _Commitment
) -> LocalDataset:
    return LocalDataset(
        id=id,
        version=version,
        name=name,
        path=str(made.path),
        id_column=id_column,
        label_column=label,
        schema=made.schema,
        schema_digest=made.schema_digest,
        rows_root=made.rows_root,
        rows=made.rows,
        columns=made.columns,
        commitment_key=made.key,
        file_digest=made.file_digest,
    )


def _published(made: _Commitment, version: int, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "schemaDigest": made.schema_digest,
        "rowsRoot": made.rows_root,
        "rows": made.rows,
        "columns": made.columns,
    }


# ── Grants ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class GrantRequest:
    """What an owner allows.  `grantee` is a member or a site, by id or by name, or "all": every
    member.  A use has one of the `purposes` and one of the `algorithms`.

    Either `until` (block time in Unix seconds) or `expires_in` seconds from the chain's newest
    block; neither means 30 days.  `product_budget` None: one vector per ten rows.  `column_rules`
    says per column whether it may only join rows, enter the protocol, or neither, and under "*"
    what holds for the columns that it does not name, which are free otherwise.
    """

    dataset: str
    grantee: str
    algorithms: Sequence[str]
    purposes: Sequence[str] = ("training",)
    from_version: int = 1
    to_version: int | None = None
    until: int | None = None
    expires_in: int | None = None
    uses: int = 1
    min_parties: int = 2
    min_rows: int = 0
    product_budget: int | None = None
    epsilon_micro: int = 0
    column_rules: Mapping[str, str] | None = None
    amends: str | None = None


def sign_grant(site: Site, request: GrantRequest, *, key: str | None = None) -> Submitted:
    """Sign a grant with the owner's account (EIP-712) and have it recorded on the chain."""
    from chain.consents import grant_id

    network = site.network()
    nonce = nonce_of(key)
    terms, rules = grant_terms(site, network, request, nonce)
    consents = network.consents
    id = grant_id(network.client.chain_id, consents.address, site.identity.address, nonce)
    submitted = Submitted(id, f"grant.record:{id}")
    call = consents.grant(terms, consents.sign(terms, site.identity.account))
    if is_open(site, submitted.intent):
        return submitted
    rehearse(site, call)
    kept = [] if rules is None else [KeptTerms(grant_id=id, column_rules=rules)]
    facts = {"terms": terms.to_json()}
    return submit(site, submitted, call, "grant.signed", facts, *kept, scope=terms.dataset_id)


def grant_terms(
    site: Site, network: Network, request: GrantRequest, nonce: int
) -> tuple[GrantTerms, dict[str, str] | None]:
    """The terms that a request means, with the document about columns if it has one."""
    from chain.canonical import digest_of
    from chain.consents import GrantTerms

    rules = _column_rules(site, request)
    to_version = request.to_version or request.from_version
    terms = GrantTerms(
        dataset_id=request.dataset,
        from_version=request.from_version,
        to_version=to_version,
        grantee=member_id_of(network, request.grantee),
        purposes=tuple(request.purposes),
        algorithms=tuple(code_digest_of(name) for name in request.algorithms),
        until=_until(network, request),
        uses=request.uses,
        nonce=nonce,
        min_parties=request.min_parties,
        min_rows=request.min_rows,
        product_budget=_budget(network, request, to_version),
        epsilon_micro=request.epsilon_micro,
        column_rules=ZERO_ID if rules is None else digest_of(rules),
        amends=request.amends or ZERO_ID,
    )
    return terms, rules


def column_rules(site: Site, grant: str) -> dict[str, str] | None:
    """The document whose digest a grant of this site carries; None where none is kept here."""
    with site.store.read() as session:
        kept = session.get(KeptTerms, grant)
        return None if kept is None else dict(kept.column_rules)


def _column_rules(site: Site, request: GrantRequest) -> dict[str, str] | None:
    """The checked document; raises `NotFound` and `Invalid`."""
    if request.column_rules is None:
        return None
    with site.store.read() as session:
        row = session.get(LocalDataset, (request.dataset, request.from_version))
        if row is None:
            raise NotFound("DatasetUnknown", "this site has no such dataset", found=request.dataset)
        columns = {feature["name"] for feature in row.schema["features"]}
        columns |= {name for name in (row.id_column, row.label_column, "*") if name is not None}
    if unknown := sorted(set(request.column_rules) - columns):
        raise Invalid(
            "InvalidRequest",
            "the column rules name columns that the dataset does not have",
            found=unknown[:5],
            allowed=sorted(columns)[:50],
        )
    if other := sorted(set(request.column_rules.values()) - set(COLUMN_RULES)):
        raise Invalid(
            "InvalidRequest", "no such rule for a column", found=other[:5], allowed=COLUMN_RULES
        )
    return dict(request.column_rules)


def revoke_grant(site: Site, grant: str) -> Submitted:
    """Withdraw consent at once: what runs with it is stopped."""
    call = site.network().consents.revoke(grant)
    submitted = Submitted(grant, f"grant.revoke:{grant}")
    if is_open(site, submitted.intent):
        return submitted
    rehearse(site, call)
    return submit(site, submitted, call, "grant.revoked", {})


def member_id_of(network: Network, grantee: str) -> str:
    """The member that an id (of a member or of its site) or a unique name means, or all of them."""
    from chain.consents import ALL_MEMBERS
    from chain.errors import ContractRefused
    from chain.membership import Standing

    members = network.membership
    if grantee in (ALL, ALL_MEMBERS):
        return ALL_MEMBERS
    if grantee.startswith("0x"):
        if members.standing(grantee) is not Standing.NONE:
            return grantee
        try:
            return network.sites.member_of(grantee)
        except ContractRefused:
            raise _no_grantee(grantee, "no member or site has this id") from None
    named = [id for id in members.members() if members.member(id).name == grantee]
    if not named:
        named = [
            found.member
            for found in (network.sites.site(id) for id in network.sites.sites())
            if found.name == grantee
        ]
    if len(set(named)) != 1:
        raise _no_grantee(grantee, f"{len(set(named))} members or sites have this name")
    return named[0]


def code_digest_of(algorithm: str) -> str:
    """The code digest of a named algorithm as this node has it; a digest is taken as it is."""
    from ml.algorithm import code_digest
    from ml.errors import MlError

    if algorithm.startswith("0x"):
        return algorithm
    try:
        return code_digest(algorithm)
    except (MlError, KeyError) as error:
        raise Invalid(
            "UnknownAlgorithm",
            "this node has no algorithm of that name",
            found=algorithm,
            hint="see `fatechain network` for the algorithms that the consortium allows",
        ) from error


def _no_grantee(grantee: str, detail: str) -> Invalid:
    return Invalid(
        "InvalidRequest",
        f"the grantee is not known: {detail}",
        found=grantee,
        hint="name a member or a site by its id or its name; see `fatechain member list`",
    )


def _until(network: Network, request: GrantRequest) -> int:
    if request.until is not None and request.expires_in is not None:
        raise Invalid("InvalidRequest", "give until or expires_in, not both")
    if request.until is not None:
        return request.until
    expires_in = DEFAULT_EXPIRY_SECONDS if request.expires_in is None else request.expires_in
    return network.client.head().timestamp + expires_in


def _budget(network: Network, request: GrantRequest, to_version: int) -> int:
    if request.product_budget is not None:
        return request.product_budget
    rows = network.datasets.version(request.dataset, to_version).rows
    return -(-rows // BUDGET_SHARE)


# ── What they share ──────────────────────────────────────────────────────────────────────────


def nonce_of(key: str | None) -> int:
    """A fresh nonce; from a request's key always the same one."""
    if key is None:
        return new_nonce()
    return int.from_bytes(hashlib.sha256(b"fatechain nonce v1\0" + key.encode()).digest()[:16])


def _check_name(name: str) -> None:
    if not 0 < len(name) <= MAX_NAME or not name.isprintable():
        raise Invalid(
            "InvalidRequest",
            f"a name has 1 to {MAX_NAME} printable characters",
            found=f"{len(name)} characters",
        )


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
