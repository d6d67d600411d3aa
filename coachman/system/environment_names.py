"""The environment variables by which processes of a service pass values to each other.

Settings, which a person sets, are not among them: those are in settings.py. Who sets and who reads each:

    COACHMAN_EXPOSED       the master, for the application: the address that other machines can reach
    COACHMAN_WORKER_COUNT  the master, for the application: how many workers share a resource
    COACHMAN_HANDOVER_LOG  the old master, for the new one: the file that its first log lines are copied to
    COACHMAN_MADE_AT_IMPORT the check of a release, or a master that starts again, for the master that starts:
                           why each worker is to load the application itself
    COACHMAN_RUNTIME_DIR   the old master, for the new one, where the setting names a relative folder
    LISTEN_FDNAMES         systemd or the old master: which inherited socket is public and which is ops
    LISTEN_PID, LISTEN_FDS systemd, or Gunicorn in the old master: whose the inherited sockets are
    GUNICORN_PID           Gunicorn in the old master, for the new one: the pid of the old master
    GUNICORN_FD            Gunicorn in the old master, for the new one: the inherited sockets
    NOTIFY_SOCKET          systemd, for the master: where sd_notify(3) sends
    WATCHDOG_PID           systemd or the old master: which process is to send WATCHDOG=1
    WATCHDOG_USEC          systemd, for the master: how often
"""

EXPOSED = "COACHMAN_EXPOSED"
WORKER_COUNT = "COACHMAN_WORKER_COUNT"
HANDOVER_LOG = "COACHMAN_HANDOVER_LOG"
MADE_AT_IMPORT = "COACHMAN_MADE_AT_IMPORT"
RUNTIME_DIR = "COACHMAN_RUNTIME_DIR"
RUNTIME_DIRECTORY = "RUNTIME_DIRECTORY"  # systemd's, for a unit with RuntimeDirectory=
LISTEN_FDNAMES = "LISTEN_FDNAMES"
LISTEN_PID = "LISTEN_PID"
LISTEN_FDS = "LISTEN_FDS"
GUNICORN_PID = "GUNICORN_PID"
GUNICORN_FD = "GUNICORN_FD"
NOTIFY_SOCKET = "NOTIFY_SOCKET"
WATCHDOG_PID = "WATCHDOG_PID"
WATCHDOG_USEC = "WATCHDOG_USEC"

# Names that begin as settings do: of this module, and of the shop's settings until version 0.1.
NO_SETTINGS = frozenset(
    {
        *(EXPOSED, WORKER_COUNT, HANDOVER_LOG, MADE_AT_IMPORT),
        *("COACHMAN_DATABASE_URL", "COACHMAN_DATABASE_CONNECTIONS", "COACHMAN_THREADS", "COACHMAN_DOCS"),
        *("COACHMAN_KEYS_FILE", "COACHMAN_KEYS_FOR", "COACHMAN_MAX_BODY_BYTES"),
        "COACHMAN_TEST_CACHE",  # of tests/vm
    }
)

# What systemd or Gunicorn says to one process, which a process that starts later must not take for its own.
OF_ONE_PROCESS = frozenset(
    {
        *("MAINPID", "INVOCATION_ID", "JOURNAL_STREAM", NOTIFY_SOCKET, WATCHDOG_PID, WATCHDOG_USEC),
        *(LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES, GUNICORN_PID, GUNICORN_FD),
    }
)
