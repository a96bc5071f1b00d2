#!/bin/sh
# Seal a root file system: remove what must differ between two machines, and what only building needed.
# It runs inside (chroot), so that no link in the tree can lead to the host's files; $1, a folder, is for its test.
set -eu
cd "${1:-}/"

# Identity. An empty machine-id (not a missing one) makes systemd write a new one at each machine's first boot.
rm -f etc/machine-id var/lib/dbus/machine-id var/lib/systemd/random-seed var/lib/systemd/credential.secret
: > etc/machine-id
rm -f etc/ssh/ssh_host_* etc/ssl/private/ssl-cert-snakeoil.key etc/ssl/certs/ssl-cert-snakeoil.pem
rm -f etc/hostname etc/resolv.conf etc/hosts
echo localhost > etc/hostname
: > etc/resolv.conf
printf '127.0.0.1 localhost\n::1 localhost\n' > etc/hosts

# Traces of the build.
rm -f usr/sbin/policy-rc.d etc/*- etc/.pwd.lock
rm -rf var/lib/apt/lists var/cache/apt var/cache/debconf/*-old var/lib/dpkg/*-old var/cache/ldconfig root/.cache root/.ansible
mkdir -p var/lib/apt/lists/partial var/cache/apt/archives/partial
rm -f root/.bash_history home/*/.bash_history
find var/log -type f -delete
rm -rf var/tmp/* var/log/journal/*
# The kernel is started from beside the disk.
rm -f boot/initrd.img* boot/vmlinuz-* vmlinuz vmlinuz.old initrd.img initrd.img.old
