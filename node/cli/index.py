"""`index`: the search index of a home's own database."""

from __future__ import annotations

import typer

from node.cli.frame import Place, command
from node.cli.tables import facts

index = typer.Typer(help="The search index, which is made of the log and the chain's events.")


def register(app: typer.Typer) -> None:
    app.add_typer(index, name="index")
    command(index, "rebuild")(rebuild)


def rebuild(place: Place) -> None:
    """Throw the search index away and make it anew; the node may go on meanwhile."""
    from node.audit.log import AuditLog
    from node.index.indexing import Indexing
    from node.migrations import migrate
    from node.store import Store

    settings = place.settings()
    store = Store(settings.database_url)
    try:
        migrate(store)
        indexing = Indexing(store, AuditLog(store, settings.log))
        done = indexing.rebuild(lambda done: place.say(f"{done:,} entries and events"))
    finally:
        store.dispose()
    place.show({"read": done}, lambda: facts({"read": f"{done:,}"}, title="Search index"))
