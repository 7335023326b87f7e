"""The Celery app: tasks are rung through it, and its workers run each task under a supervisor.

The database is the queue; a Celery message only says "look at this task".  A lost message costs
time (the scheduler rings again), a message too many costs nothing (`node.supervisor` claims by
compare-and-set).  Neither numpy nor web3 is imported here: a prefork child is light, and a
protocol cannot harm it.

    python -m node.worker --home HOME
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from celery import Celery

from node.errors import Unavailable
from node.settings import Settings

CONVERSATIONS = "conversations"  # the queue of steps: each holds a slot as long as it talks
RUN_TASK = "fatechain.run_task"
CONNECT_SECONDS = 2.0


def make_app(settings: Settings) -> Celery:
    """The app of a site: what rings and what answers."""
    app = Celery("fatechain", broker=broker_url(settings.redis_url), set_as_current=False)
    app.conf.update(
        task_ignore_result=True,
        task_default_queue=CONVERSATIONS,
        task_acks_late=False,  # a lost bell is rung again from the database
        task_serializer="json",
        accept_content=["json"],
        worker_prefetch_multiplier=1,
        # After a lost connection Celery would take fewer messages, and early acknowledgements
        # never raise the count again.
        worker_enable_prefetch_count_reduction=False,
        worker_max_tasks_per_child=1,
        worker_concurrency=settings.slots,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # The worker itself connects again for ever; a bell that cannot be rung is rung later.
        broker_transport_options={
            "socket_connect_timeout": CONNECT_SECONDS,
            "max_retries": 1,
            "interval_start": 0,
        },
    )
    home = settings.home

    @app.task(name=RUN_TASK, shared=False)  # type: ignore[untyped-decorator]
    def run_task(task_id: str) -> None:
        from node.supervisor import supervise

        supervise(home, task_id)

    return app


def ring(app: Celery, task_id: str) -> None:
    """Tell the workers that a task is READY.  Raises `Unavailable` (``BrokerUnavailable``)."""
    from kombu.exceptions import OperationalError

    try:
        app.send_task(RUN_TASK, args=(task_id,), retry=False)
    except (OperationalError, OSError) as error:
        raise Unavailable(
            "BrokerUnavailable",
            f"the broker did not take the call: {type(error).__name__}",
            hint="the task is rung again as soon as the broker answers",
        ) from error


def broker_url(redis_url: str) -> str:
    """`Settings.redis_url` as Celery spells it: a unix socket has another scheme there."""
    scheme, _, rest = redis_url.partition("://")
    return f"redis+socket://{rest}" if scheme == "unix" else redis_url


def main(arguments: list[str] | None = None) -> None:
    """Start the worker of a site and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m node.worker", description=main.__doc__)
    parser.add_argument("--home", type=Path, default=os.environ.get("FATECHAIN_HOME"))
    home: Path | None = parser.parse_args(arguments).home
    if home is None:
        parser.error("--home or FATECHAIN_HOME is needed")
    app = make_app(Settings.load(home))
    app.worker_main(
        [
            "--quiet",
            "worker",
            "--pool=prefork",
            "--loglevel=WARNING",
            "--without-gossip",
            "--without-mingle",
            f"--queues={CONVERSATIONS}",
        ]
    )


if __name__ == "__main__":
    main()
