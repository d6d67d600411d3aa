#!/bin/sh
# The operator's command on a machine that `coachman install` has set up.
#
# What makes and removes things is a command of its own, which works whatever a release brings. All else is asked
# of the release that serves: the scoreboard of another version could not be read.
installed=/opt/coachman/command/bin/coachman
name=
case ${1-} in
-n | --name) name=${2-} && shift && [ $# -gt 0 ] && shift ;;
--name=*) name=${1#--name=} && shift ;;
esac
case ${1-} in
install | uninstall | units | nginx | list | doctor | release | releases | rollback)
    exec $installed ${name:+--name "$name"} "$@"
    ;;
esac
id=coachman${name:+-$name}
if [ -n "$name" ] && [ ! -d "/opt/$id" ]; then
    echo "There is no application $name on this machine: \`coachman list\` names those that are." >&2
    exit 1
fi
if [ -n "$name" ]; then
    export COACHMAN_RUNTIME_DIR="/run/$id" CONFIGURATION_DIRECTORY="/etc/$id"
fi
if cd "/opt/$id/current" 2>/dev/null; then
    exec .venv/bin/python -m coachman "$@"
fi
exec $installed ${name:+--name "$name"} "$@"
