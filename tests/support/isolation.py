"""Runs what mounts things as root, so that none of it outlives the run."""

# In namespaces of its own the /proc, /sys and /dev of mmdebstrap vanish with it, also when it is killed.
# Left in an unfinished root, they would have whoever deletes that root delete the host's.
ALONE = (
    *("unshare", "--mount", "--propagation", "private"),
    *("--pid", "--fork", "--kill-child=KILL", "--mount-proc"),
)
