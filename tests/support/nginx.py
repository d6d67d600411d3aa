"""A real nginx with the configuration that we ship, on ports and paths of its own."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.support.deadlines import PATIENCE_SECONDS
from tests.support.ports import free_port
from tests.support.service import REPOSITORY, wait_until

SHIPPED = REPOSITORY / "deploy" / "nginx"


class Nginx:
    def __init__(self, folder: Path, socket: str, *, extra: str = "") -> None:
        """`extra` goes into the server that serves."""
        self.folder = folder
        self.port, self.tls_port, self.redirect_port = free_port(), free_port(), free_port()
        self._error_log = folder / "error.log"
        self._make_certificate()
        site = self._on_our_paths((SHIPPED / "coachman.conf").read_text(), socket)
        plain = f"server_tokens off;\n    listen 127.0.0.1:{self.port};\n{extra}"
        site = site.replace("server_tokens off;", plain)
        (folder / "site.conf").write_text(site)
        shutil.copy(SHIPPED / "coachman-proxy.conf", folder)
        shutil.copy(SHIPPED / "maintenance.html", folder)
        (folder / "nginx.conf").write_text(
            f"user {'root' if Path.home() == Path('/root') else 'nobody'};\n"
            f"daemon off; pid {folder}/nginx.pid; error_log {self._error_log} warn; worker_processes 2;\n"
            "events { worker_connections 512; }\n"
            f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"include {folder}/site.conf; }}\n"
        )

    def _make_certificate(self) -> None:
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        files = ["-subj", "/CN=shop.example", "-keyout", "privkey.pem", "-out", "fullchain.pem"]
        subprocess.run(
            [*command.split(), *files],
            cwd=self.folder,
            check=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )

    def _on_our_paths(self, text: str, socket: str) -> str:
        text = re.sub(r"listen \[::\].*\n", "\n", text)
        return (
            text.replace("listen 80", f"listen 127.0.0.1:{self.redirect_port}")
            .replace("listen 443", f"listen 127.0.0.1:{self.tls_port}")
            .replace("/run/coachman.sock", socket)
            .replace("/etc/letsencrypt/live/shop.example", str(self.folder))
            .replace("/etc/nginx/snippets", str(self.folder))
            .replace("/usr/share/coachman", str(self.folder))
        )

    def command(self, *arguments: str) -> list[str]:
        return ["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), *arguments]

    def check(self) -> str:
        """What `nginx -t` says."""
        done = subprocess.run(self.command("-t"), capture_output=True, text=True, timeout=PATIENCE_SECONDS)
        return done.stderr

    def log(self) -> str:
        return self._error_log.read_text() if self._error_log.exists() else ""

    @contextlib.contextmanager
    def running(self) -> Iterator["Nginx"]:
        process = subprocess.Popen(self.command(), stderr=subprocess.DEVNULL)
        try:
            assert wait_until((self.folder / "nginx.pid").exists), self.check()
            yield self
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
