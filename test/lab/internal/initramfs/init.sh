#!/bin/busybox sh
# First program of the guest. It makes the root file system, shared read-only over 9p, writable with a tmpfs on top, and
# hands over to labrun, which is told by the kernel argument lab.job where its job is described.
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev

while read -r module; do
	$bb insmod "/modules/$module" || echo "lab: insmod $module failed"
done </modules/order

for argument in $($bb cat /proc/cmdline); do
	case $argument in lab.job=*) job=${argument#lab.job=} ;; esac
done
options=trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro
$bb mount -t 9p -o "$options" root /lower || { echo "lab: no root file system"; $bb poweroff -f; }
$bb mount -t tmpfs -o size=75% tmpfs /rw
$bb mkdir /rw/upper /rw/work
$bb mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work overlay /root ||
	{ echo "lab: no overlay"; $bb poweroff -f; }

$bb mkdir -p "/root/$job"
$bb mount -t 9p -o "$options" job "/root/$job" || { echo "lab: no job"; $bb poweroff -f; }
$bb umount /dev /proc
exec $bb switch_root /root "$job/labrun" guest "$job/job.json"
