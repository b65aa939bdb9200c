#!/bin/bash
# Turn this process into a host of the lab.  `boot.sh enter GROUP...` goes into the control groups and new
# namespaces; `boot.sh inside` then makes the root file system and the network, and becomes systemd.
#
# LAB_TREE LAB_HOST_DIR LAB_HOST LAB_CGROUPS ("name:options ...", a single ":" for version 2)
# LAB_NETNS LAB_BRIDGE LAB_LINK LAB_MAC LAB_ADDRESS (with prefix length)
set -euo pipefail

if [ "$1" = enter ]; then
    shift
    for group in "$@"; do
        echo $$ >"$group/cgroup.procs"
    done
    exec unshare --mount --net --uts --ipc --pid --cgroup --fork --kill-child --propagation private "$0" inside
fi

# --- root file system
root=$LAB_HOST_DIR/root
mount -t overlay overlay \
    -o "lowerdir=$LAB_TREE,upperdir=$LAB_HOST_DIR/upper,workdir=$LAB_HOST_DIR/work" "$root"
cd "$root"
mkdir -p .old var/lib/docker var/lib/containerd
# on the overlay itself dockerd would silently fall back to the vfs driver
mount --bind "$LAB_HOST_DIR/docker" var/lib/docker
mount --bind "$LAB_HOST_DIR/containerd" var/lib/containerd

mount -t proc -o nosuid,nodev,noexec proc proc
# keys without a namespace are the machine's own: a host can read them, not write them
for key in proc/sys/{abi,debug,dev,fs,kernel,vm} proc/sysrq-trigger; do
    if [ -e "$key" ]; then
        mount --bind "$key" "$key"
        mount -o remount,bind,ro "$key"
    fi
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs tmp

mount -t tmpfs -o mode=755,nosuid tmpfs dev
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    read -r name major minor <<<"$device"
    mknod -m 666 "dev/$name" c "$major" "$minor"
done
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

if [ "$LAB_CGROUPS" = ":" ]; then
    mount -t cgroup2 cgroup2 sys/fs/cgroup
else
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs sys/fs/cgroup
    for hierarchy in $LAB_CGROUPS; do
        mkdir "sys/fs/cgroup/${hierarchy%%:*}"
        mount -t cgroup -o "${hierarchy#*:}" cgroup "sys/fs/cgroup/${hierarchy%%:*}"
    done
fi

# --- network: a cable from eth0 to the lab's bridge, never through the machine's own namespace
hostname "$LAB_HOST"
in_lab=(nsenter "--net=$LAB_NETNS")
"${in_lab[@]}" ip link delete "$LAB_LINK" 2>/dev/null || true # of the boot before
ip link set lo up
ip link add eth0 address "$LAB_MAC" type veth peer name "$LAB_LINK" netns "$LAB_NETNS"
"${in_lab[@]}" ip link set "$LAB_LINK" master "$LAB_BRIDGE" up
ip address add "$LAB_ADDRESS" dev eth0
ip link set eth0 up

pivot_root . .old
umount -l /.old
rmdir /.old
cd /
exec env -i container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd </dev/null >/dev/null 2>&1
