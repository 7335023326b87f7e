"""The Celery app and ``run_task``: the supervisor of one conversation.

The database is the queue; a Celery message only says "look at this task".  The supervisor lets
itself in by compare-and-set, starts the conversation as a child process in a group of its own,
renews the lease while it runs, and stops it when the row says so.  It imports neither numpy nor
web3: a prefork child is light, and a protocol cannot harm it.

    FATECHAIN_HOME=/srv/bank python -m node.worker
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from celery import Celery

CONVERSATIONS = "conversations"  # the queue of steps: each holds a slot as long as it talks

app = Celery("fatechain")


def configure(home: Path) -> Celery:
    """Settle the app on a site's folder; called once by the worker and by whoever rings it."""
    from node.settings import Settings

    settings = Settings.load(home)
    app.conf.update(
        broker_url=broker_url(settings.redis_url),
        task_ignore_result=True,
        task_default_queue=CONVERSATIONS,
        task_acks_late=False,  # a lost bell is rung again from the database
        worker_prefetch_multiplier=1,
        worker_max_tasks_per_child=1,
        worker_concurrency=settings.slots,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 15},
        accept_content=["json"],
        task_serializer="json",
    )
    return app


def broker_url(redis_url: str) -> str:
    """`Settings.redis_url` as Celery spells it: a unix socket has another scheme there."""
    scheme, _, rest = redis_url.partition("://")
    return f"redis+socket://{rest}" if scheme == "unix" else redis_url


# Not shared: run as a program, this module exists twice, as itself and as "__main__".
@app.task(name="fatechain.run_task", shared=False)  # type: ignore[untyped-decorator]
def run_task(task_id: str) -> None:
    """Run one task of this site to its end, unless somebody else already does."""
    from node.supervisor import supervise

    supervise(_home(), task_id)


def ring(task_id: str) -> None:
    """Tell the workers that a task is READY.  Raises `Unavailable` (``BrokerUnavailable``)."""
    from kombu.exceptions import OperationalError

    from node.errors import Unavailable

    try:
        run_task.apply_async(args=(task_id,), retry=False)
    except (OperationalError, OSError) as error:
        raise Unavailable(
            "BrokerUnavailable",
            f"the broker did not take the call: {type(error).__name__}",
            hint="the task is rung again as soon as the broker answers",
        ) from error


def _home() -> Path:
    return Path(os.environ["FATECHAIN_HOME"])


def main(arguments: list[str] | None = None) -> None:
    """Start the worker of a site and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m node.worker", description=main.__doc__)
    parser.add_argument("--home", type=Path, default=os.environ.get("FATECHAIN_HOME"))
    home: Path | None = parser.parse_args(arguments).home
    if home is None:
        parser.error("--home or FATECHAIN_HOME is needed")
    os.environ["FATECHAIN_HOME"] = str(home)
    # Under its own name, so that the prefork children and this process share one app.
    from node import worker

    worker.configure(home)
    options: list[Any] = ["--quiet", "worker", "--pool=prefork", "--loglevel=WARNING"]
    options += ["--without-gossip", "--without-mingle", f"--queues={CONVERSATIONS}"]
    worker.app.worker_main(options)


if __name__ == "__main__":
    main()
