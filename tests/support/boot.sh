#!/bin/bash
# Becomes a host of its own: systemd as process 1 over a copy of this machine's files, of which
# nothing is changed. To be run by unshare(1) with new mount, PID, UTS, IPC, cgroup and network
# namespaces.
#
#   boot.sh FOLDER PYTHON LIBRARIES SOURCE
#
# FOLDER is empty, and used up. The others are folders: an installation of Python, of what buddyd
# needs, and of buddyd; they are found under /opt/buddyd there, where every user can read them.
set -euo pipefail
folder=$1
root=$folder/root

mkdir "$root" "$folder/changes"
mount -t tmpfs -o size=512m,mode=755 tmpfs "$folder/changes"
mkdir "$folder/changes/upper" "$folder/changes/work"
chmod 755 "$folder/changes/upper"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$folder/changes/upper,workdir=$folder/changes/work" "$root"

for part in python:$2 libraries:$3 source:$4; do
    mkdir -p "$root/opt/buddyd/${part%%:*}"
    mount --bind "${part#*:}" "$root/opt/buddyd/${part%%:*}"
    mount -o remount,bind,ro "$root/opt/buddyd/${part%%:*}"
done

mount -t proc proc "$root/proc"
# What is set there holds for the machine outside as well.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
ln -s /proc/self/fd/1 "$root/dev/stdout"
ln -s /proc/self/fd/2 "$root/dev/stderr"

# Nothing of the machine's own is started: only what a service needs, and what logs in users.
echo >"$root/etc/fstab"
rm -rf "$root/var/log/journal" "$root/etc/systemd/system" "$root/etc/systemd/user"
mkdir -p "$root/var/log/journal" "$root/etc/systemd/system"
units=$root/etc/systemd/system
for unit in systemd-{sysctl,modules-load,binfmt,timesyncd,random-seed,update-utmp,remount-fs} \
    systemd-{sysusers,firstboot,udevd,udev-trigger,hwdb-update,networkd,resolved}; do
    ln -s /dev/null "$units/$unit.service"
done
for unit in sys-kernel-{debug,tracing,config}.mount sys-fs-fuse-connections.mount \
    dev-{hugepages,mqueue}.mount systemd-ask-password-{wall,console}.path; do
    ln -s /dev/null "$units/$unit"
done
cat >"$units/test.target" <<UNIT
[Unit]
Requires=sysinit.target basic.target
After=sysinit.target basic.target
AllowIsolate=yes
UNIT

# Not chroot: namespaces of users are refused to what was started in one.
mkdir -p "$root/outside"
cd "$root"
pivot_root . outside
umount --lazy /outside
exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --system --unit=test.target --log-target=journal --show-status=0
