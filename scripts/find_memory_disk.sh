#!/bin/sh
# Prints /dev/shm where programs can run in it and 6 GiB fit, twice over in memory; prints nothing otherwise.
# Tests write and sync small files without end: on a disk they wait for it, and for whoever else does.
set -eu
options=$(awk '$2 == "/dev/shm" && $3 == "tmpfs" { found = $4 } END { print found }' /proc/mounts 2>/dev/null) || exit 0
case ,$options, in ,, | *,ro,* | *,noexec,* | *,nodev,*) exit 0 ;; esac
[ -w /dev/shm ] || exit 0
free=$(df -Pk /dev/shm | awk 'NR == 2 { print $4 }')
memory=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
if [ "${free:-0}" -ge 6291456 ] && [ "${memory:-0}" -ge 12582912 ]; then echo /dev/shm; fi
