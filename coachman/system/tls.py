"""TLS for a service without a proxy in front: its certificate, and the renewal of it."""

import contextlib
import os
import ssl

# Of TLS 1.2 those with forward secrecy and authenticated encryption; TLS 1.3 has no others.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class TlsError(Exception):
    """Says in one sentence what is wrong with the files."""


class Tls:
    """A certificate and its key, in PEM files, and the context that connections are encrypted with.

    To be made in the master: the workers' contexts have the same keys for session tickets then, so that a
    client that comes to another worker need not do the whole handshake again.
    """

    def __init__(self, certfile: str, keyfile: str = "") -> None:
        """`keyfile` is empty where the key is in `certfile`, too. Raises TlsError."""
        self._certfile, self._keyfile = certfile, keyfile
        self._loaded = self._signature()
        self.context = new_context()
        self._load(self.context)

    def renew(self) -> bool:
        """Loads the files where they have changed; returns whether they have. Raises TlsError.

        Connections that are open stay as they are, and after an error the certificate does.
        """
        signature = self._signature()
        if signature == self._loaded:
            return False
        self._loaded = signature
        self._load(new_context())  # a context is changed by half where the key is another certificate's
        self._load(self.context)
        return True

    def _signature(self) -> list[tuple[int, int, int]]:
        """What changes when a file is written or replaced, also behind a symbolic link."""
        found = []
        for name in filter(None, (self._certfile, self._keyfile)):
            with contextlib.suppress(OSError):
                status = os.stat(name)  # noqa: PTH116 - no Path is wanted
                found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        return found

    def _load(self, context: ssl.SSLContext) -> None:
        for key, name in (("CERTFILE", self._certfile), ("KEYFILE", self._keyfile)):
            _require_readable(key, name)
        try:
            context.load_cert_chain(self._certfile, self._keyfile or None, password=self._refuse_password)
        except ssl.SSLError as error:
            raise TlsError(self._flaw(error)) from None

    def _refuse_password(self) -> str:
        """Without it OpenSSL would ask at the terminal, which a service has not."""
        raise TlsError(
            f"{self._key_place()} is encrypted, and nobody is there to ask for the password:"
            " decrypt it (openssl pkey -in KEY -out KEY)."
        )

    def _flaw(self, error: ssl.SSLError) -> str:
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"{self._key_place()} is not the key of COACHMAN_CERTFILE={self._certfile}."
        try:
            new_context().load_verify_locations(self._certfile)
        except ssl.SSLError:
            return f"COACHMAN_CERTFILE={self._certfile} is refused: it has no certificate in PEM form."
        return f"{self._key_place()} is refused: it has no private key in PEM form."

    def _key_place(self) -> str:
        return f"COACHMAN_KEYFILE={self._keyfile}" if self._keyfile else f"COACHMAN_CERTFILE={self._certfile}"


def new_context() -> ssl.SSLContext:
    """Returns a server's context, for TLS 1.2 and 1.3, and for HTTP/1.1 alone."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def make_tls(certfile: str | None, keyfile: str | None) -> Tls | None:
    """None without a certificate. Ends the process with one sentence where the files cannot be used."""
    if not certfile and not keyfile:
        return None
    if not certfile:
        raise SystemExit(f"COACHMAN_KEYFILE={keyfile} is refused without COACHMAN_CERTFILE, the certificate.")
    try:
        return Tls(certfile, keyfile or "")
    except TlsError as error:
        raise SystemExit(str(error)) from None


def _require_readable(key: str, name: str) -> None:
    if not name:
        return
    try:
        with open(name, "rb"):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TlsError(f"COACHMAN_{key}={name} cannot be read: {reason}.") from None
