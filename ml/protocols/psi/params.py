"""What the parties agree on before they match rows, and which protocol that comes to."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ml.crypto.ot_extension import MAX_EVALUATIONS

Method = Literal["ecdh", "kkrt", "oprf"]

KKRT_MAX_ROWS = MAX_EVALUATIONS // 3
# Up to here multiplying points costs less than the transfers that KKRT begins with.  These are made
# with each host anew, while a guest blinds its ids once for all of them.
ECDH_MAX_ROWS = 1024
ECDH_MAX_ROWS_OF_MANY = 4096


class Params(BaseModel):
    """What the parties agree on before they match rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    minimum_intersection: int = Field(
        default=1,
        ge=1,
        alias="minimumIntersection",
        description="Fewer common rows than this end the job, and no host learns which they are.",
    )
    protocol: Literal["auto", "ecdh", "kkrt", "oprf"] = Field(
        default="auto", description="How rows are matched; auto goes by the sizes of the tables."
    )
    result: Literal["all", "guest"] = Field(
        default="all",
        description="Who learns the common rows; with guest, hosts do not even learn how many.",
    )
    duplicates: Literal["refuse", "group"] = Field(
        default="refuse",
        description="What several rows with one id are: an error, or one group.",
    )

    def method(self, largest: int, hosts: int) -> Method:
        """The protocol for tables of up to ``largest`` rows and this many hosts."""
        if self.protocol != "auto":
            return self.protocol
        small = ECDH_MAX_ROWS if hosts == 1 else ECDH_MAX_ROWS_OF_MANY
        return "ecdh" if largest <= small or largest > KKRT_MAX_ROWS else "kkrt"
