"""Everything that can go wrong in `ml`, in one tree.

    MlError
     ├─ ConversationError
     │   ├─ ProtocolViolation      a party said or asked for what its role does not allow
     │   ├─ PartnerSilent          a party did not answer in time
     │   ├─ TooFewParties          fewer parties answered than the protocol needs
     │   └─ Deadlock               all parties wait for each other: the protocol is wrong
     ├─ WireError                  bytes or a value that may not cross a channel
     ├─ DataError                  the rows do not allow the computation
     │   ├─ UnreadableTable
     │   ├─ ColumnNotFound
     │   ├─ MissingIds
     │   ├─ DuplicateIds
     │   ├─ IdTypeMismatch
     │   ├─ NoCommonIds
     │   ├─ TooFewCommonIds
     │   ├─ LabelsMissing
     │   ├─ LabelsNotBinary
     │   ├─ LabelsNotClasses
     │   ├─ LabelsNegative
     │   ├─ WeightsUnusable
     │   ├─ TooManyCells
     │   ├─ ScoreOverflow
     │   ├─ Diverged
     │   ├─ SingleClass
     │   ├─ CategoryColumn
     │   ├─ ConstantColumn
     │   └─ AllMissingColumn
     └─ RefusedParameter           a parameter that no job may carry
         ├─ RefusedRate            steps larger than a computation has room for
         ├─ RefusedScheme          a cipher that is broken
         └─ UnknownAlgorithm

An error keeps what it found in its arguments (so it survives pickling between processes) and
says it in `str`: found, allowed, what to do.  Texts name columns, counts and positions of rows,
never an id or a value of a row: they travel to logs and to partners.
"""

from __future__ import annotations

from collections.abc import Sequence


class MlError(Exception):
    """Base of all errors of this package."""


class ConversationError(MlError):
    """The conversation between the parties cannot go on."""


class ProtocolViolation(ConversationError):
    """A party sent, or its program asked for, what the protocol does not allow."""


class PartnerSilent(ConversationError):
    """``party`` did not say ``kind`` within ``seconds``."""

    def __init__(self, party: str, kind: str, seconds: float) -> None:
        super().__init__(party, kind, seconds)
        self.party, self.kind, self.seconds = party, kind, seconds

    def __str__(self) -> str:
        return (
            f"{self.party} did not send {self.kind} within {self.seconds:g} s; "
            "ask that site whether its node runs, then try the job again"
        )


class TooFewParties(ConversationError):
    """Fewer parties answered than the protocol needs to stay private or correct."""

    def __init__(self, kind: str, answered: int, needed: int) -> None:
        super().__init__(kind, answered, needed)
        self.kind, self.answered, self.needed = kind, answered, needed

    def __str__(self) -> str:
        return f"{self.answered} parties sent {self.kind}; at least {self.needed} are needed"


class Deadlock(ConversationError):
    """Every running party waits for a message that nobody will send."""


class WireError(MlError):
    """A value or a sequence of bytes that may not cross a channel."""


class DataError(MlError):
    """The rows of a party do not allow the computation."""


class UnreadableTable(DataError):
    """A file is not the table it should be."""


class ColumnNotFound(DataError):
    """``column`` is not among the columns of the table."""

    def __init__(self, column: str, columns: Sequence[str]) -> None:
        super().__init__(column, tuple(columns))
        self.column, self.columns = column, tuple(columns)

    def __str__(self) -> str:
        return f"no column {self.column!r}; the table has {', '.join(self.columns)}"


class MissingIds(DataError):
    """Rows without an id; ``positions`` are the first few of them, counted from 0."""

    def __init__(self, count: int, positions: Sequence[int]) -> None:
        super().__init__(count, tuple(positions))
        self.count, self.positions = count, tuple(positions)

    def __str__(self) -> str:
        return (
            f"{self.count} rows have no id, first at positions {list(self.positions)}; "
            "every row needs one"
        )


class DuplicateIds(DataError):
    """Rows that repeat an id; ``positions`` are the first few of them, counted from 0."""

    def __init__(self, count: int, positions: Sequence[int]) -> None:
        super().__init__(count, tuple(positions))
        self.count, self.positions = count, tuple(positions)

    def __str__(self) -> str:
        return (
            f"{self.count} rows repeat an id of an earlier row, first at positions "
            f"{list(self.positions)}; ids must be unique: aggregate or drop these rows"
        )


class IdTypeMismatch(DataError):
    """Two parties, or a schema and a file, declare their ids as different types."""

    def __init__(self, ours: str, theirs: str, who: str) -> None:
        super().__init__(ours, theirs, who)
        self.ours, self.theirs, self.who = ours, theirs, who

    def __str__(self) -> str:
        return (
            f"our ids are of type {self.ours}, those of {self.who} of type {self.theirs}; "
            "register the dataset again with the same id type on both sides"
        )


class NoCommonIds(DataError):
    """The parties have no row in common."""

    def __str__(self) -> str:
        return (
            "no id is common to all parties; check that they mean the same id column and spelling"
        )


class TooFewCommonIds(DataError):
    """The parties have fewer rows in common than they agreed to need."""

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(found, needed)
        self.found, self.needed = found, needed

    def __str__(self) -> str:
        return f"{self.found} ids are common to all parties; this job needs at least {self.needed}"


class LabelsMissing(DataError):
    """A computation needs labels and the table, or some of its rows, has none."""


class LabelsNotBinary(DataError):
    """Labels other than 0 and 1."""

    def __init__(self, distinct: int) -> None:
        super().__init__(distinct)
        self.distinct = distinct

    def __str__(self) -> str:
        return (
            f"the label column has {self.distinct} distinct values or values other than 0 and 1; "
            "binary classification allows 0 and 1 only"
        )


class LabelsNotClasses(DataError):
    """Labels other than the numbers of the classes."""

    def __init__(self, distinct: int, classes: int) -> None:
        super().__init__(distinct, classes)
        self.distinct, self.classes = distinct, classes

    def __str__(self) -> str:
        return (
            f"the label column has {self.distinct} distinct values, some of them not among "
            f"0 to {self.classes - 1}; number the classes so, or set num_class"
        )


class LabelsNegative(DataError):
    """Negative labels where counts or amounts are learnt."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows

    def __str__(self) -> str:
        return f"{self.rows} labels are negative; counts and amounts are 0 or more"


class WeightsUnusable(DataError):
    """Weights of rows that are missing, negative, or all 0."""


class TooManyCells(DataError):
    """Tables that together are more than a party of the computation may be asked to hold."""

    def __init__(self, rows: int, columns: int, outputs: int, found: int, allowed: int) -> None:
        super().__init__(rows, columns, outputs, found, allowed)
        self.rows, self.columns, self.outputs = rows, columns, outputs
        self.found, self.allowed = found, allowed

    def __str__(self) -> str:
        return (
            f"{self.rows} rows of {self.columns} columns of all parties, for {self.outputs} "
            f"outputs, need {self.found} cells, a square of each party's columns among them; "
            f"allowed are {self.allowed}: bring fewer rows or columns, or fit fewer classes"
        )


class ScoreOverflow(DataError):
    """A score of which no exponential can be taken."""

    def __init__(self, objective: str, largest: float, allowed: float) -> None:
        super().__init__(objective, largest, allowed)
        self.objective, self.largest, self.allowed = objective, largest, allowed

    def __str__(self) -> str:
        return (
            f"with {self.objective} a score reached {self.largest:.0f}; allowed are "
            f"{self.allowed:.0f} either way: lower learning_rate, or raise reg_lambda"
        )


class SingleClass(DataError):
    """All labels are equal, so nothing can be learnt from them or measured with them."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.rows = rows

    def __str__(self) -> str:
        return f"all {self.rows} labels are equal; both classes are needed"


class Diverged(DataError):
    """A descent that went away from its minimum."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate)
        self.learning_rate = learning_rate

    def __str__(self) -> str:
        return (
            f"the descent diverged at learning_rate {self.learning_rate:g}; halve it, "
            "or raise alpha"
        )


class TooFewColumns(DataError):
    """Columns of one party that its part of a model would tell."""

    def __init__(self, found: int, needed: int, outputs: int) -> None:
        super().__init__(found, needed, outputs)
        self.found, self.needed, self.outputs = found, needed, outputs

    def __str__(self) -> str:
        return (
            f"{self.found} independent columns at a host for a model of {self.outputs} outputs, "
            f"which would tell them; allowed are {self.needed} or more: "
            "bring more columns, or fit fewer classes"
        )


class CategoryColumn(DataError):
    """A feature of text, where a computation takes numbers only."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column

    def __str__(self) -> str:
        return f"column {self.column!r} holds text; write numbers, a 0/1 column for each value, say"


class ConstantColumn(DataError):
    """A feature has one value only."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column

    def __str__(self) -> str:
        return f"column {self.column!r} has one value in all rows; leave it out of the dataset"


class AllMissingColumn(DataError):
    """A feature has no value at all."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column

    def __str__(self) -> str:
        return f"column {self.column!r} has no value in any row; leave it out of the dataset"


class RefusedParameter(MlError):
    """A parameter that no job may carry."""


class RefusedRate(RefusedParameter):
    """Steps so large that numbers would leave the range in which they are exact."""

    def __init__(self, found: float, allowed: float) -> None:
        super().__init__(found, allowed)
        self.found, self.allowed = found, allowed

    def __str__(self) -> str:
        return (
            f"gradients would be multiplied by {self.found:g}; allowed are {self.allowed:g}: "
            "lower learning_rate or momentum"
        )


class RefusedScheme(RefusedParameter):
    """An encryption scheme that is known to be broken."""

    def __init__(self, scheme: str, reason: str, instead: str) -> None:
        super().__init__(scheme, reason, instead)
        self.scheme, self.reason, self.instead = scheme, reason, instead

    def __str__(self) -> str:
        return f"scheme {self.scheme!r} is refused: {self.reason}; use {self.instead!r}"


class UnknownAlgorithm(RefusedParameter):
    """A name that is not in the catalogue."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return f"no algorithm {self.name!r}; the catalogue has {', '.join(self.known)}"
