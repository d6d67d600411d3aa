"""Usage: activate.py FD,FD COMMAND ...  Runs the command as systemd does that holds the sockets.

The last one is for operations, the others are public.
"""

import fcntl
import os
import sys

FIRST = 3

sockets = [int(file) for file in sys.argv[1].split(",")]
spare = [fcntl.fcntl(file, fcntl.F_DUPFD, 100) for file in sockets]  # one of them may be in another's place
for number, file in enumerate(spare, FIRST):
    os.dup2(file, number)
os.environ |= {
    "LISTEN_FDS": str(len(sockets)),
    "LISTEN_PID": str(os.getpid()),
    "LISTEN_FDNAMES": ":".join(["public"] * (len(sockets) - 1) + ["ops"]),
}
os.execv(sys.argv[2], sys.argv[2:])
