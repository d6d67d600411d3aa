#!/bin/sh
# Usage: deploy/install.sh [--wheels DIR] [--dry-run] [OPTION...] [SOURCE]
#
# Puts the command `coachman` of this checkout onto the machine, and has it run `coachman install`, which makes
# the service: SOURCE is a project's folder or tarball, by default this checkout, and every OPTION is one of
# `coachman install --help`. Debian 12 and 13, Ubuntu 22.04 and 24.04; as root. Where Coachman is installed by
# pip, `coachman install` alone does the same.
#
#   --wheels DIR   install from this folder, made by `make wheelhouse`; the network is not used
#   --dry-run      say what would be done, and do nothing
#
# Exit: 0 the service serves, 1 a precondition is missing or a step failed (the last lines say which).
set -eu

coachman=$(cd "$(dirname "$0")/.." && pwd)
command=/opt/coachman/command
wheels=
dry=
previous=
has_source=

die() {
    echo "install.sh: $*" >&2
    exit 1
}

find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    return 1
}

install_python() {
    [ -z "$wheels$dry" ] || die "there is no Python 3.11 with its venv package; install it first (apt-get install python3-venv)"
    # shellcheck disable=SC1091
    . /etc/os-release
    package=python3-venv
    # Ubuntu 22.04's own Python is 3.10.
    [ "${VERSION_ID:-}" != 22.04 ] || package=python3.11-venv
    echo "==> Installing $package"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"
    find_python || die "$package has not brought a Python 3.11 or newer"
}

for word; do
    case $previous in
    --wheels) wheels=$word ;;
    --app | --bind | --ops-bind | --name | -n | --ref | --package) ;;
    *)
        case $word in
        --help | -h) sed -n '2,/^set -eu/{s/^# \{0,1\}//;/^set -eu/d;p;}' "$0" && exit 0 ;;
        --dry-run) dry=yes ;;
        -*) ;;
        *) has_source=yes ;;
        esac
        ;;
    esac
    previous=$word
done
[ -n "$has_source" ] || set -- "$@" "$coachman"
[ -n "$dry" ] || [ "$(id -u)" -eq 0 ] || die "run this as root (sudo $0)"
[ -z "$wheels" ] || ls "$wheels"/coachman-*.whl >/dev/null 2>&1 ||
    die "--wheels $wheels: there is no wheel of Coachman in it; make it with: make wheelhouse"
find_python || install_python

if [ -n "$dry" ]; then
    command=$(mktemp -d)
    trap 'rm -rf "$command"' EXIT
fi
echo "==> Installing this checkout's Coachman into $command"
"$python" -m venv --clear "$command"
pip="$command/bin/python -m pip --disable-pip-version-check --quiet --no-input install --no-deps"
# shellcheck disable=SC2086  # lists of words
{
    $pip ${wheels:+--no-index --find-links "$wheels"} --require-hashes --requirement "$coachman/requirements.txt"
    if [ -n "$wheels" ]; then $pip "$wheels"/coachman-*.whl; else $pip "$coachman"; fi
}
"$command/bin/coachman" install "$@"
