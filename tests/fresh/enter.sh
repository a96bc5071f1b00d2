#!/bin/bash
# enter.sh ROOT: makes the tree at ROOT the whole file system of the namespaces it is started in, with what a kernel and a first process
# give, and stays as their first process until its standard input ends. Nodes are the tree's own: a bound one would be the host's.
set -eu
root=$1
mount --make-rprivate /
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs run
mkdir run/lock
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755,size=1m tmpfs dev
mkdir dev/pts dev/shm dev/net
node() { mknod -m 666 "dev/$1" c "$2" "$3"; }
node null 1 3
node zero 1 5
node full 1 7
node random 1 8
node urandom 1 9
node tty 5 0
node net/tun 10 200
if [ -e /dev/kvm ]; then node kvm 10 232; fi
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
hostname fresh
pivot_root . mnt
umount -l /mnt
echo ready
# The first process buries the dead, as bash does while it waits.
exec /bin/bash -c 'while read -r _; do :; done'
