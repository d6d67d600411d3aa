"""Releases on a machine that deploy/install.sh has set up. Runs in the operator's command, as root."""
