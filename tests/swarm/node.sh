#!/bin/sh
# Usage: node.sh FOLDER CGROUP NAME
#
# One node of the cluster, as the first process of namespaces of its own (network, processes, mounts, name): ends
# with all that it has started. Waits for its network card, then starts containerd and dockerd, each with its data
# in FOLDER. containerd is started here, since dockerd waits only 15 s for one that it starts itself.
set -eu
folder=$1 cgroup=$2 name=$3

hostname "$name"
mount -t tmpfs tmpfs /run
# dockerd puts a key into /etc/docker and files of networks into /var/lib/docker, whatever its data root is: into
# layers that end with the node.
for place in /etc /var/lib; do
    mkdir -p "$folder/upper$place" "$folder/work$place"
    mount -t overlay -o "lowerdir=$place,upperdir=$folder/upper$place,workdir=$folder/work$place" overlay "$place"
done
ip link set lo up
until ip -4 addr show dev eth0 2>/dev/null | grep -q inet; do sleep 0.1; done

printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]\n' \
    >"$folder/containerd.toml"
containerd --config "$folder/containerd.toml" --root "$folder/containerd" --state "$folder/state" --address "$folder/containerd.sock" &
until [ -S "$folder/containerd.sock" ]; do sleep 0.1; done
exec dockerd --containerd "$folder/containerd.sock" --data-root "$folder/data" --exec-root "$folder/exec" \
    --pidfile "$folder/pid" --host "unix://$folder/socket" --cgroup-parent "$cgroup" --userland-proxy=false
