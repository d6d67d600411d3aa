"""Another host, for tests/vm/needs.py: answers DNS, HTTP, SMTP and Redis's PING with as little as will do."""

import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

ADDRESS = "192.0.2.2"


class Web(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


class Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 peer\r\n")
        while line := self.rfile.readline():
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")


class Redis(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        """Each command is *COUNT, then $LENGTH and a word as often."""
        while count := self.rfile.readline():
            words = [self.rfile.readline() + self.rfile.readline() for _ in range(int(count[1:]))]
            self.wfile.write(b"+PONG\r\n" if b"PING" in words[0].upper() else b"+OK\r\n")


class Names(socketserver.DatagramRequestHandler):
    def handle(self) -> None:
        """Every name is this host's; it has no IPv6 address."""
        query = self.rfile.read()
        question = query[12 : query.index(b"\0", 12) + 5]
        is_a = question[-4:-2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(ADDRESS) if is_a else b""
        counts = b"\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
        self.wfile.write(query[:2] + b"\x81\x80" + counts + question + answer)


if __name__ == "__main__":
    servers = [
        HTTPServer((ADDRESS, 80), Web),
        socketserver.ThreadingTCPServer((ADDRESS, 25), Mail),
        socketserver.ThreadingTCPServer((ADDRESS, 6379), Redis),
        socketserver.UDPServer((ADDRESS, 53), Names),
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
