"""Dataset versions by commitment: digests, roots and counts, never a row."""

from dataclasses import dataclass

from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import derive_id


@dataclass(frozen=True)
class Version:
    """`rows_root` is the RFC 6962 root over salted rows; `until_block` 0: it stands."""

    schema_digest: str
    rows_root: str
    rows: int
    columns: int
    from_block: int
    until_block: int


@dataclass(frozen=True)
class Dataset:
    id: str
    site: str
    owner: str
    name: str
    versions: int
    from_block: int


def dataset_id(chain_id: int, datasets: str, operator: str, nonce: int) -> str:
    """The id that `register(…, nonce)` by the site's operator will give."""
    return derive_id(chain_id, datasets, operator, nonce)


class Datasets(Contract):
    artifact = "DatasetRegistry"

    def dataset(self, dataset: str, *, block: Block | None = None) -> Dataset:
        """Refused with DatasetUnknown."""
        found = self._read("dataset", dataset, block=block)
        return Dataset(
            id=dataset,
            site=found["site"],
            owner=found["owner"],
            name=found["name"],
            versions=found["versions"],
            from_block=found["fromBlock"],
        )

    def version(self, dataset: str, version: int, *, block: Block | None = None) -> Version:
        """Refused with DatasetVersionUnknown."""
        found = self._read("version", dataset, version, block=block)
        return Version(
            schema_digest=found["schemaDigest"],
            rows_root=found["rowsRoot"],
            rows=found["rows"],
            columns=found["columns"],
            from_block=found["fromBlock"],
            until_block=found["untilBlock"],
        )

    def require_standing(self, dataset: str, version: int, *, block: Block | None = None) -> None:
        self._read("requireStanding", dataset, version, block=block)

    def datasets(self, *, block: Block | None = None) -> tuple[str, ...]:
        return self._read_all("datasetCount", "datasets", block)

    def register(
        self,
        site: str,
        name: str,
        schema_digest: str,
        rows_root: str,
        rows: int,
        columns: int,
        nonce: int,
    ) -> Call:
        """Registers the dataset with its version 1. By the site's operator."""
        return self._write("register", site, name, schema_digest, rows_root, rows, columns, nonce)

    def add_version(
        self, dataset: str, schema_digest: str, rows_root: str, rows: int, columns: int
    ) -> Call:
        return self._write("addVersion", dataset, schema_digest, rows_root, rows, columns)

    def withdraw_version(self, dataset: str, version: int) -> Call:
        return self._write("withdrawVersion", dataset, version)
