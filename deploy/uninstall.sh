#!/bin/sh
# Usage: deploy/uninstall.sh [--data]
#
# Takes the service, its releases and the command coachman off this machine; as root. Settings
# (/etc/coachman) and data (/var/lib/coachman) stay, with the user that they belong to, unless --data is given.
#
# Exit: 0 it is gone, 1 not run as root or not understood.
set -eu

units="coachman.service coachman.socket coachman-ops.socket"
data=

die() {
    echo "uninstall.sh: $*" >&2
    exit 1
}

case ${1-} in
"") ;;
--data) data=yes ;;
*) die "usage: uninstall.sh [--data]" ;;
esac
[ "$(id -u)" -eq 0 ] || die "run this as root (sudo $0)"

for unit in $units; do
    # One that is not there is no reason to stop: this may be the second try.
    systemctl --quiet disable --now "$unit" 2>/dev/null || true
    rm -f "/etc/systemd/system/$unit"
done
rm -rf /etc/systemd/system/coachman.service.d /etc/systemd/system/coachman.socket.d
systemctl daemon-reload
# shellcheck disable=SC2086  # a list of words
systemctl reset-failed $units 2>/dev/null || true
rm -rf /opt/coachman
rm -f /usr/local/bin/coachman

if [ -n "$data" ]; then
    rm -rf /etc/coachman /var/lib/coachman
    rm -f /usr/lib/sysusers.d/coachman.conf
    userdel coachman 2>/dev/null || true
    echo "Coachman is gone, with its settings and data."
else
    echo "Coachman is gone. /etc/coachman and /var/lib/coachman are still there; $0 --data removes them."
fi
