"""All commands, put together."""

from __future__ import annotations

import typer

from node.cli import (
    audits,
    consortium,
    data,
    disputes,
    emergency,
    erasure,
    evidence,
    governance,
    identity,
    index,
    joining,
    lineage,
    log,
    monitor,
    pack,
    people,
    reviews,
    rules,
    setup,
    witness,
    work,
)

app = typer.Typer(
    name="fatechain",
    help="FATE-Chain: federated learning among institutions, agreed on a chain, audited by all.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its traces show local variables: keys among them
    rich_markup_mode="rich",
)
for module in (
    setup,
    joining,
    identity,
    consortium,
    governance,
    emergency,
    disputes,
    reviews,
    data,
    rules,
    work,
    evidence,
    index,
    lineage,
    log,
    erasure,
    monitor,
    pack,
    audits,
    witness,
    people,
):
    module.register(app)
