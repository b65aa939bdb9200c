#!/bin/bash
# Become the first process of a small host: own mounts, network, processes and control groups; the machine's
# files below, seen through overlays. `boot.sh enter GROUP...`, then `boot.sh inside`.
#
# ENGINE_DIR ENGINE_CGROUPS ("name:options ...", a single ":" for version 2)
set -euo pipefail

if [ "$1" = enter ]; then
    shift
    for group in "$@"; do
        echo $$ >"$group/cgroup.procs"
    done
    exec unshare --mount --net --pid --cgroup --uts --fork --kill-child --propagation private "$0" inside
fi

mount -t proc -o nosuid,nodev,noexec proc /proc
for place in etc usr/local/sbin usr/lib/systemd/system var/lib var/log; do
    mkdir -p "$ENGINE_DIR/upper/$place" "$ENGINE_DIR/work/$place"
    mount -t overlay overlay -o "lowerdir=/$place,upperdir=$ENGINE_DIR/upper/$place,workdir=$ENGINE_DIR/work/$place" "/$place"
done
rm -rf /var/lib/remediator # in the overlay alone: what the machine's own runs have left is not this host's
# on an overlay dockerd would silently fall back to the vfs driver
for place in var/lib/docker var/lib/containerd; do
    mkdir -p "$ENGINE_DIR/$place" "/$place"
    mount --bind "$ENGINE_DIR/$place" "/$place"
done
mount -t tmpfs -o mode=755 tmpfs /run
if [ "$ENGINE_CGROUPS" = ":" ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
    for hierarchy in $ENGINE_CGROUPS; do
        mkdir "/sys/fs/cgroup/${hierarchy%%:*}"
        mount -t cgroup -o "${hierarchy#*:}" cgroup "/sys/fs/cgroup/${hierarchy%%:*}"
    done
fi
hostname "$ENGINE_NAME"
ip link set lo up
# the limits that the service asks for may be above what this machine allows
sed -i -e 's/^\(\s*\)ulimit .*/\1:/' -e 's,^export PATH=,export PATH=/usr/local/sbin:,' /etc/init.d/docker
touch /run/ready
while :; do
    sleep 1000 &
    wait -n || true
done
