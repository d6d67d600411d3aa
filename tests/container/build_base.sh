#!/bin/sh
# Usage: build_base.sh SUITE FILE
#
# Packs a Debian with Python and its venv module: what the Containerfile takes for its base where no registry of
# images can be reached. As root; needs mmdebstrap and a Debian mirror.
set -eu

# shellcheck disable=SC2016  # mmdebstrap hands its hooks the root as $1
exec mmdebstrap --quiet --variant=minbase --format=tar --include=python3,python3-venv,ca-certificates \
    --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*' \
    "$1" "$2"
