"""``python -m node.api --home DIR``: serve a site's interface and explorer until SIGTERM."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import uvicorn

from node.api.app import create_app
from node.settings import Settings

STOP_SECONDS = 5


def main(arguments: list[str] | None = None) -> None:
    """Serve.  `Settings` refuses a bind beyond loopback without TLS."""
    parser = argparse.ArgumentParser(prog="python -m node.api", description=main.__doc__)
    parser.add_argument("--home", type=Path, default=os.environ.get("FATECHAIN_HOME"))
    home: Path | None = parser.parse_args(arguments).home
    if home is None:
        parser.error("--home or FATECHAIN_HOME is needed")
    settings = Settings.load(home)
    uvicorn.run(
        create_app(home),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        log_level="warning",
        access_log=False,  # a query may hold what the log should not
        server_header=False,
        proxy_headers=settings.behind_tls_proxy,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    main()
