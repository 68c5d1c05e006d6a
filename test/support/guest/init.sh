#!/busybox sh
# The first process of the guest. Root is in memory; /usr is the host's, so that its programs run here as well.
/busybox mount -t proc none /proc
/busybox mount -t sysfs none /sys
/busybox mount -t devtmpfs none /dev
/busybox mkdir /dev/shm
/busybox mount -t tmpfs none /dev/shm
while read -r module; do /busybox insmod "/modules/$module.ko"; done </modules/order
/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 usr /usr
if [ "$1" = shell ]; then # scripts/demo-guest
  /busybox mount -t virtiofs -o ro store /nix/store
  cd /nix/store
  echo "This is $(/busybox uname -sr) in a virtual machine; here are the contents of its /nix/store. Ctrl-D or exit ends it."
  ls
  HOME=/ PATH=/usr/sbin:/usr/bin PS1='guest:$PWD# ' /busybox setsid /busybox cttyhack /bin/sh -i
  /busybox poweroff -f
fi
exec /usr/bin/python3 -u /agent.py
