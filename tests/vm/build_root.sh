#!/bin/sh
# Usage: build_root.sh SUITE DIRECTORY
#
# Unpacks a Debian with systemd and Python, as after a minimal installation:
# nothing of Coachman is there. As root; needs mmdebstrap and a Debian mirror.
set -eu

suite=$1
directory=$2

packages=systemd,systemd-sysv,dbus,libpam-systemd,libseccomp2,python3,python3-venv,ca-certificates,curl,iproute2,procps

# Documentation and translations are half of the files, and no test reads them.
exec mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$directory"
