"""Models by digest, with the job that made them and the models they grew from."""

from collections.abc import Sequence
from dataclasses import dataclass

from chain.calls import Block, Call
from chain.contract import Contract
from chain.ids import derive_id


@dataclass(frozen=True)
class Model:
    """`until_block` 0: it stands."""

    id: str
    model_digest: str
    job: str
    registrar: str
    from_block: int
    until_block: int
    parents: tuple[str, ...]


def model_id(chain_id: int, models: str, operator: str, nonce: int) -> str:
    """The id that `register(…, nonce)` by the site's operator will give."""
    return derive_id(chain_id, models, operator, nonce)


class Models(Contract):
    artifact = "ModelRegistry"

    def model(self, model: str, *, block: Block | None = None) -> Model:
        """Refused with ModelUnknown."""
        found = self._read("model", model, block=block)
        return Model(
            id=model,
            model_digest=found["modelDigest"],
            job=found["job"],
            registrar=found["registrar"],
            from_block=found["fromBlock"],
            until_block=found["untilBlock"],
            parents=tuple(found["parents"]),
        )

    def models_of(self, job: str, *, block: Block | None = None) -> tuple[str, ...]:
        return tuple(self._read("modelsOf", job, block=block))

    def register(
        self, job: str, site: str, model_digest: str, parents: Sequence[str], nonce: int
    ) -> Call:
        """By the operator of a party of a succeeded job."""
        return self._write("register", job, site, model_digest, list(parents), nonce)

    def withdraw(self, model: str, site: str) -> Call:
        return self._write("withdraw", model, site)
