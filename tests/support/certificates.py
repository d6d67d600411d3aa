"""Certificates of a moment, by the openssl command."""

import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.support.deadlines import PATIENCE_SECONDS


class CertificateFiles(NamedTuple):
    certfile: Path
    keyfile: Path


def make_certificate(folder: Path, name: str = "localhost") -> CertificateFiles:
    """Writes fullchain.pem and privkey.pem, for localhost and 127.0.0.1; `name` is the subject."""
    folder.mkdir(parents=True, exist_ok=True)
    files = CertificateFiles(folder / "fullchain.pem", folder / "privkey.pem")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(files.keyfile), "-out", str(files.certfile)),
        ],
        check=True,
        capture_output=True,
        timeout=PATIENCE_SECONDS,
    )
    return files
