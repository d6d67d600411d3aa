#!/bin/sh
# Does what the stack needs of the entry point of docker.io/library/postgres: makes the database of POSTGRES_USER,
# POSTGRES_DB and POSTGRES_PASSWORD_FILE in an empty volume, and serves it. Another command is run as it is.
set -eu
[ "$1" = postgres ] || exec "$@"

programs=/usr/lib/postgresql/17/bin
export PGDATA=/var/lib/postgresql/data
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /run/postgresql
    chown -R postgres "$PGDATA" /run/postgresql
    cat "$POSTGRES_PASSWORD_FILE" >/tmp/password
    chown postgres /tmp/password
    exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    "$programs/initdb" --username="$POSTGRES_USER" --pwfile=/tmp/password --auth=scram-sha-256 \
        --encoding=UTF8 --locale=C --no-sync
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | "$programs/postgres" --single -j postgres
fi
exec "$programs/postgres" -c listen_addresses='*' -c jit=off
