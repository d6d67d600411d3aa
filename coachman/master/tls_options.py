"""TLS as Gunicorn's configuration has it, into which COACHMAN_CERTFILE and COACHMAN_KEYFILE are put."""

import functools
import ssl
from typing import Any

from coachman.system.tls import Tls, make_tls


@functools.cache
def tls_of(cfg: Any) -> Tls | None:
    """What the public listener is encrypted with, made once in a master; None where it is not.

    Ends the process with one sentence where the files cannot be used. Gunicorn's further options and its
    hook `ssl_context` hold.
    """
    tls = make_tls(cfg.certfile, cfg.keyfile)
    if tls is not None:
        _apply(cfg, tls.context)
        tls.context = cfg.ssl_context(cfg, lambda: tls.context)
    return tls


def _apply(cfg: Any, context: ssl.SSLContext) -> None:
    try:
        if cfg.ca_certs:
            context.load_verify_locations(cfg.ca_certs)
        if cfg.ciphers:
            context.set_ciphers(cfg.ciphers)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SystemExit(
            f"--ca-certs {cfg.ca_certs} or --ciphers {cfg.ciphers} is refused: {reason}."
        ) from None
    if cfg.cert_reqs:
        context.verify_mode = ssl.VerifyMode(cfg.cert_reqs)
