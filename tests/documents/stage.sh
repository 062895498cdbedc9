# The stage on which the commands of one document run: a network of its own, in which all ports are free, and
# directories of its own, so that they can stand in the documents as they are typed. Started by `tests/documents/main.rs`
# under `unshare`, with the root of the repository, the directory of the binary, the script of the document, and a
# directory for the stage.
#
# One machine plays all of them: names of servers are addresses of loopback, and what listens on 0.0.0.0 in a
# document listens on 127.0.0.1 here, since the servers have the same ports.
set -euo pipefail
exec 2>&1
repository=$1 binaries=$2 script=$3 stage=$4
mount -t tmpfs stage "$stage"

# These are the stage's own; of those with contents it has a copy.
own() {
    local copy="$stage/own$1"
    mkdir -p "$copy"
    [ ! -d "$1" ] || cp -r --preserve=mode,links "$1/." "$copy/" 2>"$stage/unreadable" || true
    [ -d "$1" ] || { echo "the stage needs a directory $1" >&2; exit 1; }
    mount --bind "$copy" "$1"
}
own /etc
for directory in /run /var/log /usr/share/doc; do
    mkdir -p "$stage/own$directory"
    mount --bind "$stage/own$directory" "$directory"
done
mkdir -p /var/log/nginx /run/haproxy "$stage/bin" "$stage/services"
# /usr/local/bin is written to by documents; the programs that are there stay.
mkdir -p "$stage/local" "$stage/own/local"
mount --bind /usr/local/bin "$stage/local"
ln -s "$stage"/local/* "$stage/own/local/"
mount --bind "$stage/own/local" /usr/local/bin
# What nginx keeps of bodies.
[ ! -d /var/lib/nginx ] || mount -t tmpfs nginx /var/lib/nginx

# All else stays as it is.
mkdir "$stage/tmp"
export TMPDIR=$stage/tmp
mount -o remount,bind,ro /

ip link set lo up
# The public address of the machine, which documents tell clients to send media to.
ip address add 203.0.113.7/32 dev lo
cat >/etc/hosts <<'HOSTS'
127.0.0.1 localhost
127.0.0.1 proxy wcs.example.com
127.0.0.10 wcs
127.0.0.11 wcs-a
127.0.0.12 wcs-b
HOSTS
# There is one user here, and nobody to log to.
[ ! -f /etc/nginx/nginx.conf ] || sed -i 's/^user .*/user root;/' /etc/nginx/nginx.conf
[ ! -f /etc/haproxy/haproxy.cfg ] || sed -i '/^\s*\(user\|group\|chroot\|log\|daemon\)\b/d' /etc/haproxy/haproxy.cfg
rm -f /etc/nginx/sites-enabled/default

for program in "$repository"/tests/documents/pretend/*; do
    ln -s "$program" "$stage/bin/"
done
# What the environment says is no part of a document.
for variable in ${!HOLDFAST_*}; do unset "$variable"; done
export STAGE=$stage REPOSITORY=$repository HOLDFAST=$binaries/holdfast HOME=$stage/home
export PATH="$stage/bin:$binaries:$PATH:/usr/sbin:/sbin"
unset XDG_RUNTIME_DIR
mkdir -p "$HOME"
cd "$HOME"

# Waits until a command succeeds, for at most ten seconds.
soon() {
    for _ in $(seq 200); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.05
    done
    echo "in vain: $*" >&2
    return 1
}

# `server wcs-a` starts a simulated server under that name, with the ports of a real one. `lose wcs-a` kills it.
server() {
    local ip
    ip=$(getent hosts "$1" | cut -d' ' -f1)
    if [ ! -f "$stage/$1.pem" ]; then
        "$HOLDFAST" certificate --directory "$stage/certificate" --name "$1" --force >/dev/null
        mv "$stage/certificate/cert.pem" "$stage/$1.pem"
        mv "$stage/certificate/key.pem" "$stage/$1.key"
    fi
    "$HOLDFAST" simulate --listen "$ip:8080" --control "$ip:18081" --stat "$ip:8081" --agent "$ip:9707" \
        --set "tls={\"listen\":[\"$ip:8443\"],\"certificate\":\"$stage/$1.pem\",\"key\":\"$stage/$1.key\"}" \
        --log-level warn >>"$stage/$1.log" 2>&1 &
    echo $! >"$stage/$1.pid"
    soon curl -s "http://$ip:8081/?action=stat"
}
lose() {
    kill -KILL "$(cat "$stage/$1.pid")"
    ! wait "$(cat "$stage/$1.pid")"
}

# What stays in the foreground goes on beside the document from here on; loads are short; a terminal is lent to
# what needs one.
holdfast() {
    case "${1:-}" in
    run | check)
        local command=$1 listen=()
        shift
        [[ " $* " == *" --listen"* || " $* " == *" --config"* ]] || listen=(--listen 127.0.0.1:8080)
        set -- "$command" "${listen[@]}" "${@//0.0.0.0/127.0.0.1}"
        if [ "$command" = check ]; then
            "$HOLDFAST" "$@"
            return
        fi
        stop_service holdfast
        start_service holdfast "$HOLDFAST" "$@"
        ;;
    simulate | demo)
        start_service "$1" "$HOLDFAST" "$@"
        sleep 0.5
        is_up "$1"
        ;;
    load)
        [[ " $* " == *" --hold"* ]] || set -- "$@" --hold 1
        local words=() word before=''
        for word in "$@"; do
            [[ $before != --sessions || $word -le 12 ]] || word=12
            [[ $before != --rate || $word -le 20 ]] || word=20
            words+=("$word")
            before=$word
        done
        "$HOLDFAST" "${words[@]}"
        ;;
    top | status)
        if [[ "$*" == top || "$*" == *--watch* ]]; then
            on_terminal "$@"
        else
            "$HOLDFAST" "$@"
        fi
        ;;
    *) "$HOLDFAST" "$@" ;;
    esac
}
# A screen, which ends once something is seen on it. The program takes the place of the shell: as a job of one it would be
# in the background, and stopped at its first change of the terminal.
on_terminal() {
    rm -f "$stage/screen" "$stage/screen.pid"
    script -qec "stty rows 30 cols 120; echo \$\$ >'$stage/screen.pid'; exec '$HOLDFAST' $*" /dev/null >"$stage/screen" &
    local terminal=$!
    soon grep -q holdfast "$stage/screen"
    kill -INT "$(cat "$stage/screen.pid")"
    soon eval "! kill -0 $terminal"
}
sudo() {
    [ "${1:-}" != -u ] || shift 2
    "$@"
}
# Its workers are others a moment later.
nginx() {
    command nginx "$@"
    [ "${1:-}" != -s ] || sleep 0.3
}

# As after `install.md`, without settings.
installed() {
    touch "./holdfast_.deb"
    apt install ./holdfast_.deb
    rm ./holdfast_.deb /etc/holdfast/holdfast.toml
    mkdir /etc/holdfast/tls
}

start_service() { # NAME COMMAND...
    local name=$1
    shift
    # All that it ever said is its journal.
    : >>"/var/log/$name.journal"
    wc -c <"/var/log/$name.journal" >"$stage/$name.before"
    "$@" >>"/var/log/$name.journal" 2>&1 &
    echo $! >"$stage/services/$name"
    soon is_up "$name" || { tail -c +"$(cat "$stage/$name.before")" "/var/log/$name.journal"; return 1; }
}
is_up() {
    kill -0 "$(cat "$stage/services/$1")" || return 1
    [ "$1" != holdfast ] || tail -c +"$(($(cat "$stage/$1.before") + 1))" "/var/log/$1.journal" | grep -q listening
}
stop_service() {
    local process
    [ -f "$stage/services/$1" ] || return 0
    process=$(cat "$stage/services/$1")
    kill -TERM "$process" 2>"$stage/killed" || return 0
    soon eval "! kill -0 $process"
    rm "$stage/services/$1"
}

# Whether sessions get through: `clients wss://wcs.example.com` (whoever signed the certificate is believed that
# `--ca` names).
clients() { "$HOLDFAST" load "$@" --sessions 2 --scenario echo --rate 4 --hold 1; }

# A file of the document, with what listens everywhere on one address.
file() {
    mkdir -p "$(dirname "$1")"
    sed 's/0\.0\.0\.0:/127.0.0.1:/g' >>"$1"
}
fresh_file() {
    rm -f "$1"
    file "$1"
}

source "$script"
