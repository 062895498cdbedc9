# A machine of its own for trials, to be sourced: a bare Debian whose systemd really runs, in namespaces of its own
# (processes, mounts, network, control group), so that packages, units and documents are tried as on a server. It has no
# network but loopback and a cable to one other machine, on which nothing runs: what is to be installed is fetched before
# it starts. Needs root, mmdebstrap, util-linux and iproute2.

# What a server has that was just installed, and what systemd needs for `systemctl`.
readonly MACHINE_PACKAGES=systemd-sysv,dbus,sudo,iproute2
# The address by which documents call the machine, and that of whoever comes to it.
readonly MACHINE_ADDRESS=203.0.113.7 VISITOR_ADDRESS=203.0.113.20
# The bare Debian as it was fetched.
readonly MACHINE_KEPT=${CARGO_TARGET_DIR:-target}/machine/debian.tar
# It starts in a second or two.
readonly MACHINE_START_SECONDS_MAX=60

fail() { echo "NOT SO: $*" >&2; exit 1; }
holds() { local what=$1; shift; "$@" || fail "$what"; echo "ok  $what"; }

# Waits until a command succeeds: `soon SECONDS COMMAND...`.
soon() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || { echo "in vain: $*" >&2; return 1; }
        sleep 0.1
    done
}

# machine_make DIRECTORY: a bare Debian in DIRECTORY/root. What it is made of goes with `machine_end`.
machine_make() {
    [ "$(id -u)" = 0 ] || { echo "this needs root" >&2; exit 77; }
    for tool in mmdebstrap unshare nsenter ip; do
        command -v "$tool" >/dev/null || { echo "$tool is missing: apt-get install mmdebstrap util-linux iproute2" >&2; exit 69; }
    done
    machine=$1/root
    machine_system='' machine_visitor='' machine_group=''
    # What is a day old is fetched anew.
    if [ -z "$(find "$MACHINE_KEPT" -mtime -1 2>/dev/null)" ]; then
        mkdir -p "$(dirname "$MACHINE_KEPT")"
        mmdebstrap --quiet --variant=minbase --include="$MACHINE_PACKAGES" bookworm "$MACHINE_KEPT.new.tar"
        mv "$MACHINE_KEPT.new.tar" "$MACHINE_KEPT"
    fi
    mkdir "$machine"
    tar -C "$machine" --numeric-owner -xf "$MACHINE_KEPT"
    printf '127.0.0.1 localhost\n%s wcs.example.com\n127.0.1.1 bare\n' "$MACHINE_ADDRESS" >"$machine/etc/hosts"
    echo bare >"$machine/etc/hostname"
    # Whoever reads the documents: no root, and may become it without being asked.
    chroot "$machine" useradd --create-home --shell /bin/bash newcomer
    echo 'newcomer ALL=(ALL) NOPASSWD: ALL' >"$machine/etc/sudoers.d/newcomer"
}

# machine_fetch NAME...: has packages, or files of packages (in the machine), and what they depend on, ready for `apt
# install` without a network.
machine_fetch() {
    mount -t proc proc "$machine/proc"
    chroot "$machine" apt-get update -qq
    chroot "$machine" apt-get install -qq -y --download-only "$@" >"$machine/tmp/fetch.log" 2>&1 ||
        { cat "$machine/tmp/fetch.log" >&2; umount "$machine/proc"; return 1; }
    umount "$machine/proc"
}

# Process 1 of the machine, from what it was started in to systemd.
machine_main() {
    local root=$1 device
    ip link set lo up
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    # As systemd has it on a machine, and leaves it to others in a container: credentials come by mounts that spread.
    mount --make-rshared "$root"
    hostname bare
    exec chroot "$root" env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --unit=multi-user.target
}

# Starts it, and lays the cable.
machine_start() {
    local groups launcher
    groups=$(findmnt --noheadings --output TARGET --types cgroup2 | head -1)
    [ -n "$groups" ] || { echo "systemd needs control groups of version 2, and none are mounted" >&2; exit 69; }
    machine_group=$groups/holdfast-trial-$$
    mkdir "$machine_group"
    export -f machine_main
    (
        echo "$BASHPID" >"$machine_group/cgroup.procs"
        exec unshare --pid --mount --cgroup --ipc --uts --net --fork --kill-child --propagation private \
            bash -c 'set -euo pipefail; machine_main "$1"' machine "$machine"
    ) >"$machine/../console.log" 2>&1 </dev/null &
    launcher=$!
    soon "$MACHINE_START_SECONDS_MAX" pgrep --parent "$launcher"
    machine_system=$(pgrep --parent "$launcher")
    soon "$MACHINE_START_SECONDS_MAX" machine_runs || { cat "$machine/../console.log" >&2; fail "systemd starts"; }
    unshare --net sleep infinity &
    machine_visitor=$!
    soon 5 visitor_is_apart
    ip link add eth0 netns "$machine_system" type veth peer name eth0 netns "$machine_visitor"
    cable "$machine_system" "$MACHINE_ADDRESS"
    cable "$machine_visitor" "$VISITOR_ADDRESS"
}

visitor_is_apart() { [ "$(readlink "/proc/$machine_visitor/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
cable() { # PROCESS ADDRESS
    nsenter --target "$1" --net ip link set lo up
    nsenter --target "$1" --net ip address add "$2/24" dev eth0
    nsenter --target "$1" --net ip link set eth0 up
}

machine_runs() { [[ $(on_machine systemctl is-system-running) =~ ^(running|degraded)$ ]]; }

# Runs a command there, as root.
on_machine() {
    nsenter --target "$machine_system" --mount --uts --ipc --net --pid --cgroup --root --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb "$@"
}

# Runs a line as the newcomer types it, there or on the visitor's machine (which has the same files).
as_newcomer() { on_machine runuser -l newcomer -c "$1"; }
as_visitor() {
    nsenter --target "$machine_system" --mount --uts --ipc --pid --root --wd \
        --net="/proc/$machine_visitor/ns/net" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
        runuser -l newcomer -c "$1"
}

# Ends it with all that runs in it.
machine_end() {
    [ -z "${machine_visitor:-}" ] || kill "$machine_visitor" 2>/dev/null || true
    [ -z "${machine_system:-}" ] || kill -KILL "$machine_system" 2>/dev/null || true
    if [ -n "${machine_group:-}" ]; then
        soon 10 group_is_empty || true
        find "$machine_group" -depth -type d -exec rmdir {} + || true
    fi
    umount "${machine:-/nonexistent}/proc" 2>/dev/null || true
}
group_is_empty() { grep -q 'populated 0' "$machine_group/cgroup.events"; }
