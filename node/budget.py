"""The product budget of a grant: how many vectors a host answers with its data, over all jobs.

It limits what a guest that deviates from its protocol can read, and does not prevent it: the sum of
a bin carries many bits, so one vector of different powers of two reads the bins of many rows, and
far fewer vectors than rows read all of them.  Owners who fear that set a smaller product budget in
their grant.  What is spent is durable and counted before an answer leaves: a crash may waste
budget, it never returns any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.files import make_private, write_private
from node.store import Budget, Store


@dataclass(frozen=True)
class ProductBudget:
    """Charges products with the data of one grant; shared by all processes through the database."""

    store: Store
    grant_id: str
    limit: int  # vectors over the life of the grant

    def charge(self, vectors: int) -> None:
        """Count ``vectors`` more; raises `ProductBudgetExceeded` and counts none if they are too
        many.  Called before the answer is sent."""
        from ml.crypto.errors import ProductBudgetExceeded

        if vectors < 0:
            raise ValueError(f"{vectors} vectors cannot be charged")
        with self.store.begin() as session:
            row = session.get(Budget, self.grant_id)
            if row is None:
                row = Budget(grant_id=self.grant_id, spent=0)
                session.add(row)
            left = self.limit - row.spent
            if vectors > left:
                raise ProductBudgetExceeded(vectors, max(0, left), self.limit)
            row.spent += vectors

    def charge_share(self, part: int, whole: int) -> None:
        """Count ``part`` / ``whole`` of the limit, rounded up; raises as `charge`.

        For what reads rows in proportion to something else than vectors.
        """
        self.charge(-(-self.limit * part // whole))

    @property
    def spent(self) -> int:
        """Vectors answered so far."""
        with self.store.read() as session:
            row = session.get(Budget, self.grant_id)
            return 0 if row is None else row.spent


@dataclass(frozen=True)
class RunsBudget:
    """Counts the vectors of all runs of one training, in a file that outlives them.

    What was approved is the number of vectors of a training.  An interruption costs two trees more
    at most: the one that was half grown, and the one before, where a partner had not kept it yet.
    """

    file: Path
    approved: int  # vectors of the training
    trees: int  # by which they are needed
    run: int  # how many times it was interrupted
    grant: Callable[[int], None] | None  # charged, too

    @property
    def limit(self) -> int:
        """Vectors that all runs up to the present one may take together."""
        return self.approved + 2 * self.run * (self.approved // self.trees)

    def charge(self, vectors: int) -> None:
        """Count ``vectors`` more, durably; raises `ProductBudgetExceeded` for too many.  Called
        before the answer is sent."""
        from ml.crypto.errors import ProductBudgetExceeded

        if vectors < 0:
            raise ValueError(f"{vectors} vectors cannot be charged")
        spent = int(self.file.read_text()) if self.file.exists() else 0
        if vectors > self.limit - spent:
            raise ProductBudgetExceeded(vectors, max(0, self.limit - spent), self.limit)
        make_private(self.file.parent)
        write_private(self.file, str(spent + vectors).encode())
        if self.grant is not None:
            self.grant(vectors)
