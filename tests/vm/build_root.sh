#!/bin/sh
# Usage: build_root.sh SUITE DIRECTORY
#
# Unpacks a Debian or Ubuntu with systemd and Python, as after a minimal installation: nothing of Coachman is
# there. As root; needs mmdebstrap and the distribution's mirror.
set -eu

suite=$1
directory=$2

packages=systemd,systemd-sysv,dbus,libpam-systemd,libseccomp2,python3,python3-venv,ca-certificates,curl,iproute2,procps
mirror=

if [ "$suite" = noble ]; then
    # Debian has no package of Ubuntu's keys. This is theirs, by the digest that it had when this was written.
    url=http://archive.ubuntu.com/ubuntu/pool/main/u/ubuntu-keyring/ubuntu-keyring_2023.11.28.1_all.deb
    digest=36de43b15853ccae0028e9a767613770c704833f82586f28eb262f0311adb8a8
    keys=$(mktemp -d)
    trap 'rm -rf "$keys"' EXIT
    /usr/lib/apt/apt-helper -qq download-file "$url" "$keys/package.deb" "SHA256:$digest"
    dpkg-deb --extract "$keys/package.deb" "$keys"
    chmod 755 "$keys" # apt reads it as a user of its own
    keyring=$keys/usr/share/keyrings/ubuntu-archive-keyring.gpg
    mirror="deb [signed-by=$keyring] http://archive.ubuntu.com/ubuntu noble main universe"
fi

# Documentation and translations are half of the files, and no test reads them.
mmdebstrap --quiet --variant=minbase --format=directory --include="$packages" \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$directory" ${mirror:+"$mirror"}
