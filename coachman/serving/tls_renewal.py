"""Takes a renewed certificate without a restart, as certbot and acme.sh write it. Runs in the worker."""

import asyncio
import logging

from coachman.system.tls import Tls, TlsError

LOOK_SECONDS = 2.0

log = logging.getLogger("coachman.serving")


async def renew_when_changed(tls: Tls) -> None:
    """Checks the files until it is cancelled."""
    while True:
        renew(tls)
        await asyncio.sleep(LOOK_SECONDS)


def renew(tls: Tls) -> None:
    """Loads the files where they have changed. A file that cannot be loaded is logged once, and not used."""
    try:
        if tls.renew():
            log.info("The certificate has been renewed: new connections get it")
    except TlsError as error:
        log.error("The new certificate cannot be used, so the old one stays in use: %s", error)
