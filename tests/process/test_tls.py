"""TLS in the worker: --certfile and --keyfile, renewed without a restart, and refused in a sentence."""

import contextlib
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from websockets.sync.client import connect

from tests.support import web
from tests.support.certificates import CertificateFiles, make_certificate
from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.foreground import MAIN, Foreground
from tests.support.service import running, wait_until

ECHO = (
    MAIN
    + """
    from fastapi import Request, WebSocket

    @app.get("/scheme")
    def scheme(request: Request):
        return request.url.scheme

    @app.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        await websocket.send_text(await websocket.receive_text())
"""
)


class Secure(Foreground):
    """Asked over https; its certificate is the only one that is trusted."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.certificate = make_certificate(folder / "tls")
        self.trusted = [self.certificate.certfile.read_text()]
        certfile, keyfile = map(str, self.certificate)
        arguments = (*arguments, "--certfile", certfile, "--keyfile", keyfile)
        super().__init__(folder, *arguments, **{"main.py": ECHO})
        self.url = f"https://127.0.0.1:{self.port}"

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata="".join(self.trusted))

    def subject(self) -> str:
        """Of the certificate that a new connection gets."""
        with self.connection() as connection:
            names = connection.getpeercert() or {}
        return str(dict(pair[0] for pair in names["subject"])["commonName"])

    @contextlib.contextmanager
    def connection(self) -> Iterator[ssl.SSLSocket]:
        with (
            socket.create_connection(("127.0.0.1", self.port), PATIENCE_SECONDS) as plain,
            self.trust().wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            yield secure

    def is_serving(self) -> bool:
        with contextlib.suppress(httpx2.TransportError):
            return web.get(self.url, verify=self.trust()).status_code == 200
        return False

    def take(self, files: CertificateFiles) -> None:
        """As certbot: the link is replaced, one file after the other."""
        self.trusted.append(files.certfile.read_text())
        for new, old in zip(files, self.certificate, strict=True):
            old.unlink()
            old.symlink_to(new)


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_https_and_websockets_are_served_and_a_renewed_certificate_is_taken(
    tmp_path: Path, loop: str
) -> None:
    service = Secure(tmp_path, "-w", "2", "--loop", loop)
    with running(service):
        assert f"application       {service.url}\n" in service.log()
        assert f"status page       http://127.0.0.1:{service.ops_port}/" in service.log()
        assert web.get(f"{service.url}/scheme", verify=service.trust()).json() == "https"
        with connect(f"wss://127.0.0.1:{service.port}/echo", ssl=service.trust()) as websocket:
            websocket.send("hello")
            assert websocket.recv(PATIENCE_SECONDS) == "hello"
        workers = service.worker_pids()

        with service.connection() as kept:
            assert kept.version() == "TLSv1.3"
            service.take(make_certificate(tmp_path / "second", "renewed"))
            assert wait_until(lambda: {service.subject() for _ in range(8)} == {"renewed"}), service.log()
            kept.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert kept.recv(12) == b"HTTP/1.1 200", "an open connection stays as it is"
        assert "The certificate has been renewed: new connections get it" in service.log()

        other = make_certificate(tmp_path / "other")
        service.take(CertificateFiles(tmp_path / "second/fullchain.pem", other.keyfile))
        assert wait_until(lambda: "The new certificate cannot be used" in service.log()), service.log()
        assert f"KEYFILE={service.certificate.keyfile} is not the key of COACHMAN_CERTFILE=" in service.log()
        assert service.subject() == "renewed"
        assert service.worker_pids() == workers
    assert "Traceback" not in service.log()


def test_old_protocols_are_refused_and_a_client_without_tls_gets_nothing(tmp_path: Path) -> None:
    with running(Secure(tmp_path, "-w", "1")) as service:
        old = service.trust()
        with warnings.catch_warnings(action="ignore"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with (
            socket.create_connection(("127.0.0.1", service.port), PATIENCE_SECONDS) as plain,
            pytest.raises(ssl.SSLError, match=r"(?i)protocol|version"),
        ):
            old.wrap_socket(plain, server_hostname="localhost")
        with pytest.raises(httpx2.TransportError):
            web.get(f"http://127.0.0.1:{service.port}/")
        assert service.is_serving()
    assert "Traceback" not in service.log()


def test_a_handover_and_a_stop_serve_https_to_the_end(tmp_path: Path) -> None:
    with running(Secure(tmp_path, "-w", "2")) as service:
        service.wait_settled()
        done = service.ask("handover")
        assert "Generation 2 serves" in done.stdout, done.stderr + service.log()
        assert service.is_serving()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    good, other = make_certificate(tmp_path / "good"), make_certificate(tmp_path / "other")
    (tmp_path / "text").write_text("no PEM\n")
    return {
        "CERT": str(good.certfile),
        "KEY": str(good.keyfile),
        "OTHER": str(other.keyfile),
        "TEXT": str(tmp_path / "text"),
        "MISSING": str(tmp_path / "missing"),
    }


@pytest.mark.parametrize(
    ("certfile", "keyfile", "sentence"),
    [
        ("MISSING", "KEY", "COACHMAN_CERTFILE={MISSING} cannot be read: no such file or directory."),
        ("CERT", "MISSING", "COACHMAN_KEYFILE={MISSING} cannot be read: no such file or directory."),
        ("CERT", "OTHER", "COACHMAN_KEYFILE={OTHER} is not the key of COACHMAN_CERTFILE={CERT}."),
        ("TEXT", "KEY", "COACHMAN_CERTFILE={TEXT} is refused: it has no certificate in PEM form."),
        ("CERT", "TEXT", "COACHMAN_KEYFILE={TEXT} is refused: it has no private key in PEM form."),
        ("CERT", "", "COACHMAN_CERTFILE={CERT} is refused: it has no private key in PEM form."),
        ("", "KEY", "COACHMAN_KEYFILE={KEY} is refused without COACHMAN_CERTFILE, the certificate."),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_sentence(
    tmp_path: Path, files: dict[str, str], certfile: str, keyfile: str, sentence: str
) -> None:
    flags = ["--certfile", files[certfile]] if certfile else []
    flags += ["--keyfile", files[keyfile]] if keyfile else []
    service = Foreground(tmp_path, *flags)

    checked = service.ask("check", *flags, "--port", "0")

    assert checked.returncode == 1
    assert checked.stderr == sentence.format(**files) + "\n"


def test_a_start_is_refused_with_the_same_sentence(tmp_path: Path, files: dict[str, str]) -> None:
    service = Foreground(tmp_path, "--certfile", files["CERT"], "--keyfile", files["OTHER"])
    with running(service, ready=False):
        assert service.wait_end() == 1, service.log()
    assert "is not the key of COACHMAN_CERTFILE=" in service.log()
    assert "Traceback" not in service.log()


def test_an_encrypted_key_is_refused_instead_of_asked_for(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    locked = tmp_path / "locked.pem"
    encrypt = [
        "openssl",
        "pkey",
        "-in",
        str(files.keyfile),
        "-aes256",
        "-passout",
        "pass:x",
        "-out",
        str(locked),
    ]
    subprocess.run(encrypt, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    service = Foreground(tmp_path)

    checked = service.ask("check", "--certfile", str(files.certfile), "--keyfile", str(locked), "--port", "0")

    assert f"COACHMAN_KEYFILE={locked} is encrypted, and nobody is there to ask" in checked.stderr
    assert "Traceback" not in checked.stderr
