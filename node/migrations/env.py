"""Run by Alembic: on the engine that `node.migrations.configuration` hands over."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Engine

from node.store import Base

engine: Engine = context.config.attributes["engine"]

with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite alters a table by making it anew.
        render_as_batch=engine.dialect.name == "sqlite",
        # Our connections open transactions by themselves, also for tables: all of it or nothing.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
