"""What may be done with the columns of a dataset: the owner's rules and the site's own.

A grant may carry a document {column: "join" | "protocol" | "none"} and say by its digest on the
chain which one; ``*`` stands for all columns that it does not name.  Columns that no rule speaks of
are free, but not to match rows by: who matches by a column puts its guesses to it and is told which
are right.  Under a grant rows are matched by the id column, and by those that its document names
for it.  The site's ``privacy_withheld_columns`` are "none" in every job.

    join       PSI may match rows by it; it is never a feature or a label; ``*`` means the id column
    protocol   it may be a feature or a label inside a protocol of which nothing that is computed
               from this column alone comes out in the clear, besides what the protocol's own
               messages declare
    none       it is not read into a conversation at all

Which programs keep "protocol" is a list of those that were looked at, `INSIDE`.  SecureBoost is on
it: besides its declared messages (sums over bins, one bit per row and chosen split) it puts out
the guest's metrics, which come from scores of all columns together, and parts of the model, which
stay at their party.  The linear models are not on it: the scores of their evaluation are sums of
what each party's columns give, so with one host and several classes a guest gets several numbers of
each held-out row that are linear in the host's columns.  Statistics of a column, importances or
explanations by column would not be on it, either.  A program that is not on the list works without
these columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ml.table import Table

Use = Literal["join", "protocol", "clear"]
DEFAULT = "*"
INSIDE = frozenset({"secureboost"})
ALLOWED: Mapping[str, frozenset[str]] = {
    "join": frozenset({"join"}),
    "protocol": frozenset({"protocol"}),
    "none": frozenset(),
}


@dataclass(frozen=True)
class Limits:
    """What holds for one dataset in one job: every rule of every document, and what is withheld."""

    rules: tuple[Mapping[str, str], ...] = ()
    withheld: frozenset[str] = frozenset()

    def allows(self, column: str, use: Use) -> bool:
        """Whether all rules let the column be used so; an unknown word of a rule allows nothing."""
        words = self._words(column)
        return all(use in ALLOWED.get(word, frozenset()) for word in words)

    def names_join(self, column: str) -> bool:
        """Whether every document names the column, by its name, as one to match rows by; without a
        document none is named."""
        named = [rules.get(column) == "join" for rules in self.rules]
        return bool(named) and all(named) and self.allows(column, "join")

    def told(self, column: str) -> str:
        """The strictest word on the column, for a person."""
        words = self._words(column)
        order = ("none", "join", "protocol")
        return next((word for word in order if word in words), words[0] if words else "any")

    def of(self, columns: Iterable[str], use: Use) -> tuple[str, ...]:
        """Those of the columns that may be used so, in their order."""
        return tuple(column for column in columns if self.allows(column, use))

    def _words(self, column: str) -> tuple[str, ...]:
        said = [rules.get(column, rules.get(DEFAULT)) for rules in self.rules]
        own = ["none"] if column in self.withheld else []
        return tuple(word for word in [*said, *own] if word is not None)


def feature_use(algorithm: str) -> Use:
    """What an algorithm does with a feature."""
    return "protocol" if algorithm in INSIDE else "clear"


def limited(table: Table, limits: Limits, algorithm: str) -> Table:
    """The table with the features and the label that the algorithm may use; ids stay."""
    use, schema = feature_use(algorithm), table.schema
    kept = [at for at, name in enumerate(schema.features) if limits.allows(name, use)]
    label = schema.label if schema.label and limits.allows(schema.label, use) else None
    if len(kept) == len(schema.features) and label == schema.label:
        return table
    return replace(
        table,
        schema=replace(
            schema,
            features=tuple(schema.features[at] for at in kept),
            types=tuple(schema.types[at] for at in kept),
            label=label,
        ),
        X=table.X[:, kept].copy(),  # nothing of the others stays in memory
        y=None if label is None else table.y,
    )
