"""Connections made in another network namespace: a socket stays in the one where it was made."""

import ctypes
import socket
import threading

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def connect_in(namespace: int, address: tuple[str, int], timeout: float) -> socket.socket:
    """Opens a connection in the namespace of that file descriptor. Raises OSError where it cannot."""
    made: list[socket.socket | BaseException] = []

    def make() -> None:
        try:
            if _libc.setns(namespace, CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_connection(address, timeout))
        except BaseException as error:  # noqa: BLE001 - raised again by who asked
            made.append(error)

    thread = threading.Thread(target=make)  # of which the namespace ends with it
    thread.start()
    thread.join()
    if isinstance(made[0], BaseException):
        raise made[0]
    return made[0]
