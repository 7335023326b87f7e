"""What all shown models are: frozen, with nothing but what is declared."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

ID_PATTERN = r"^0x[0-9a-f]{64}$"
EXAMPLE_ID = "0x" + "4f" * 32
EXAMPLE_DIGEST = "0x" + "9b" * 32

Id = Annotated[
    str,
    Field(pattern=ID_PATTERN, examples=[EXAMPLE_ID], description="0x-hex of 32 bytes."),
]
IdInPath = Annotated[str, Path(pattern=ID_PATTERN, examples=[EXAMPLE_ID])]


class Shown(BaseModel):
    """Base of everything that is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(BaseModel):
    """Base of everything that is asked for: an unknown field is a mistake, not a remark."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)
