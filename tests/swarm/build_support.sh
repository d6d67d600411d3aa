#!/bin/sh
# Usage: build_support.sh SUITE FILE
#
# Packs a Debian with nginx and PostgreSQL, which stands for docker.io/library/nginx and docker.io/library/postgres
# where no registry of images can be reached. Without the compiler of PostgreSQL and without Perl, which its server
# does not need: each node unpacks all of it. As root; needs mmdebstrap and a Debian mirror.
set -eu
here=$(cd "$(dirname "$0")" && pwd)

# shellcheck disable=SC2016  # mmdebstrap hands its hooks the root as $1
exec mmdebstrap --quiet --variant=minbase --format=tar --include=nginx-light,postgresql-17 \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/lib/postgresql/*/lib/bitcode/*' \
    --customize-hook="upload $here/postgres.sh /usr/local/bin/postgres.sh" \
    --customize-hook='chmod 755 "$1"/usr/local/bin/postgres.sh' \
    --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/lib/postgresql/17' \
    --customize-hook='rm -rf "$1"/usr/lib/*/libLLVM* "$1"/usr/lib/*/libz3* "$1"/usr/lib/*/perl "$1"/usr/share/perl' \
    --customize-hook='rm -rf "$1"/usr/share/i18n' \
    --customize-hook='ln -sf /usr/lib/postgresql/17/bin/pg_isready "$1"/usr/local/bin/pg_isready' \
    "$1" "$2"
