#!/bin/sh
# Usage: deploy/install.sh [--wheels DIR] [--app MODULE:ATTRIBUTE] [--sealed|--open] [--dry-run] [SOURCE]
#
# Makes this machine run SOURCE (a project's folder or tarball; by default the checkout that this script is
# in) as the systemd service "coachman". Debian 12 and 13, Ubuntu 22.04 and 24.04; as root. Run it again to
# bring in a newer Coachman: settings and data stay.
#
#   --wheels DIR   install from this folder, made by `make wheelhouse`; the network is not used
#   --app          the application of SOURCE, where it is not app.main:app
#   --sealed       the service may reach no host over a network (systemd/drop-ins/00-sealed.conf)
#   --open         it may: the default, but where what is installed is sealed
#   --dry-run      say what would be done, and do nothing
#
# Exit: 0 the service serves, 1 a precondition is missing or a step failed (the last lines say which).
set -eu

coachman=$(cd "$(dirname "$0")/.." && pwd)
root=/opt/coachman
settings=/etc/coachman/coachman.env
units=/etc/systemd/system
python=
wheels=
app=
dry=
sealed=
source=$coachman

die() {
    echo "install.sh: $*" >&2
    exit 1
}

say() { echo "==> $*"; }

run() {
    if [ -n "$dry" ]; then echo "    $*"; else "$@"; fi
}

# write PATH MODE OWNER: what comes on the standard input.
write() {
    if [ -n "$dry" ]; then
        echo "    write $1 (mode $2, $3)"
        cat >/dev/null
    else
        cat >"$1.new"
        chmod "$2" "$1.new"
        chown "$3" "$1.new"
        mv "$1.new" "$1"
    fi
}

usage() { sed -n '2,/^set -eu/{s/^# \{0,1\}//;/^set -eu/d;p;}' "$0"; }

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --wheels | --app) [ $# -ge 2 ] || die "$1 needs a value" ;;
        esac
        case $1 in
        --wheels) wheels=$2 && shift ;;
        --app) app=$2 && shift ;;
        --dry-run) dry=yes ;;
        --sealed) sealed=yes ;;
        --open) sealed=no ;;
        --help | -h) usage && exit 0 ;;
        -*) die "there is no option $1; see --help" ;;
        *) source=$1 ;;
        esac
        shift
    done
}

require() {
    [ -n "$dry" ] || [ "$(id -u)" -eq 0 ] || die "run this as root (sudo $0)"
    [ -d /run/systemd/system ] || die "systemd does not run on this machine"
    [ -e "$source" ] || die "there is no $source; name the folder or tarball of a project"
    if [ -n "$wheels" ]; then
        wheels=$(cd "$wheels" 2>/dev/null && pwd) || die "--wheels: there is no such folder; make it with: make wheelhouse"
        ls "$wheels"/coachman-*.whl >/dev/null 2>&1 ||
            die "there is no wheel of Coachman in $wheels; make it with: make wheelhouse"
    fi
    # shellcheck disable=SC1091
    . /etc/os-release
    case ${ID:-}-${VERSION_ID:-} in
    debian-12 | debian-13 | ubuntu-22.04 | ubuntu-24.04) ;;
    *) say "This is ${PRETTY_NAME:-an unknown system}: not one that this script is tested on; going on" ;;
    esac
}

find_python() {
    for python in python3 python3.13 python3.12 python3.11; do
        "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && return
    done
    python=
    return 1
}

install_python() {
    find_python && return
    [ -z "$wheels" ] || die "there is no Python 3.11 with its venv package; install it first (apt-get install python3-venv)"
    package=python3-venv
    # Ubuntu 22.04's own Python is 3.10.
    [ "${VERSION_ID:-}" != 22.04 ] || package=python3.11-venv
    say "Installing $package"
    run apt-get update -qq
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"
    find_python || [ -n "$dry" ] || die "$package has not brought a Python 3.11 or newer"
    python=${python:-python3}
}

make_user_and_folders() {
    say "Making the user coachman, $root and /etc/coachman"
    run install -m 644 "$coachman/systemd/sysusers.conf" /usr/lib/sysusers.d/coachman.conf
    run systemd-sysusers /usr/lib/sysusers.d/coachman.conf
    run install -d -m 755 "$root" "$root/releases" "$root/wheels"
    run install -d -m 750 -g coachman /etc/coachman # what is made in it, such as keys, is the service's to read
    run install -d -m 700 /etc/coachman/credentials
}

write_settings() {
    if [ -e "$settings" ]; then
        say "Keeping $settings"
        return
    fi
    say "Writing $settings"
    write "$settings" 640 root:coachman <<END
# Settings of the service; every one of them: docs/settings.md.
# A change comes in with: systemctl reload coachman
${app:+COACHMAN_APP=$app}
END
}

# The operator's command has an environment of its own, so that it works whatever a release brings.
install_command() {
    say "Installing the command coachman"
    where=${wheels:+--no-index --find-links $wheels}
    pip="$root/command/bin/python -m pip --disable-pip-version-check --quiet --no-input"
    run "$python" -m venv --clear "$root/command"
    # shellcheck disable=SC2086  # two lists of words
    {
        run $pip install $where --no-deps --require-hashes --requirement "$coachman/requirements.txt"
        run rm -f "$root"/wheels/coachman-*.whl
        if [ -n "$wheels" ]; then
            run cp "$wheels"/coachman-*.whl "$root/wheels/"
        else
            run $pip wheel --no-deps --wheel-dir "$root/wheels" "$coachman"
        fi
        run $pip install $where --no-deps "$(echo "$root"/wheels/coachman-*.whl)"
    }
    run install -m 755 "$coachman/deploy/coachman" /usr/local/bin/coachman
}

# Before the units are replaced: those of version 0.1 were sealed, and what is sealed stays so unless it is told to open.
seal() {
    conf=$units/coachman.service.d/00-sealed.conf
    if [ -z "$sealed" ]; then
        sealed=no
        if [ -e "$conf" ] || grep -qs '^PrivateNetwork=yes' "$units/coachman.service"; then
            sealed=yes
            say "The service stays sealed, as it was: --open lets it reach a network"
        fi
    fi
    if [ "$sealed" = yes ]; then
        run install -d -m 755 "$units/coachman.service.d"
        run install -m 644 "$coachman/systemd/drop-ins/00-sealed.conf" "$conf"
    else
        run rm -f "$conf"
    fi
}

install_units() {
    seal
    say "Installing the units"
    for unit in coachman.service coachman.socket coachman-ops.socket; do
        run install -m 644 "$coachman/systemd/$unit" "$units/$unit"
    done
    if [ "$(systemctl --version | awk 'NR == 1 {print $2}')" -ge 250 ]; then
        run install -d -m 755 "$units/coachman.service.d"
        run install -m 644 "$coachman/systemd/drop-ins/credentials.conf" "$units/coachman.service.d/"
    fi
    run systemctl daemon-reload
    run systemctl --quiet enable coachman.socket coachman-ops.socket coachman.service
    run systemctl start coachman.socket coachman-ops.socket ||
        die "the sockets cannot be opened: $(journalctl -u coachman.socket -u coachman-ops.socket -o cat -n 4 --no-pager)"
    # A power cut must not leave units that are there and empty.
    say "Syncing to disk"
    run sync
}

release() {
    say "Making the first release"
    run /usr/local/bin/coachman release "$source" ${wheels:+--wheels "$wheels"} ||
        die "$source is not released; the lines above say why. Then: coachman release $source"
}

summarize() {
    [ -z "$dry" ] || exit 0
    cat <<END

The service is there, and comes up at each boot.
    settings   $settings      then: systemctl reload coachman
    data       /var/lib/coachman
    releases   $root/releases           next: coachman release $source
    look       coachman status; journalctl -u coachman
    try        curl -s http://$(systemctl show --value -p Listen coachman.socket | cut -d' ' -f1)/
    remove     $coachman/deploy/uninstall.sh
END
}

parse "$@"
require
install_python
make_user_and_folders
write_settings
install_command
install_units
release
summarize
