#!/usr/bin/env bash
# Starts an OpenSSH server on loopback for one test: `sshd.sh DIRECTORY [OPTIONS OF internal-sftp]`.
#
# Host and user keys are made in DIRECTORY and used nowhere else. Prints `ready PORT USER KEY BIN` once it listens, where BIN holds an `ssh` that knows this server only; or
# `missing WHAT` where this machine has no server. Ends when its standard input ends.
set -euo pipefail
directory=$1
shift

sshd=$(command -v sshd || ls /usr/sbin/sshd 2>/dev/null || true)
if [[ -z $sshd ]] || ! command -v ssh >/dev/null || ! command -v ssh-keygen >/dev/null; then
    echo 'missing OpenSSH: sshd, ssh and ssh-keygen'
    exit 0
fi

chmod 700 "$directory"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$directory/host"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$directory/user"
cp "$directory/user.pub" "$directory/authorized"
mkdir "$directory/bin" "$directory/files"

# As the superuser it wants an empty directory that belongs to nobody else.
if [[ $(id -u) == 0 ]]; then mkdir -p /run/sshd; fi

server=
finish() {
    if [[ -n $server ]]; then
        # Its connections have processes of their own.
        if [[ -r /proc/$server/task/$server/children ]]; then
            kill "$server" $(cat "/proc/$server/task/$server/children") 2>/dev/null || true
        else
            kill "$server" 2>/dev/null || true
        fi
    fi
}
trap finish EXIT

for attempt in {1..20}; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 40000))
    cat >"$directory/config" <<END
ListenAddress 127.0.0.1:$port
HostKey $directory/host
AuthorizedKeysFile $directory/authorized
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp $*
END
    : >"$directory/log"
    "$sshd" -D -e -f "$directory/config" 2>"$directory/log" &
    server=$!
    for wait in {1..100}; do
        if grep -q 'listening on' "$directory/log"; then break 2; fi
        if ! kill -0 "$server" 2>/dev/null; then break; fi
        sleep 0.05
    done
    kill "$server" 2>/dev/null || true
    server=
done
if [[ -z $server ]]; then
    cat "$directory/log" >&2
    exit 1
fi

echo "[127.0.0.1]:$port $(cut -d' ' -f1,2 "$directory/host.pub")" >"$directory/known"
ssh=$(command -v ssh)
cat >"$directory/bin/ssh" <<END
#!/bin/sh
exec '$ssh' -F none -o UserKnownHostsFile='$directory/known' -o GlobalKnownHostsFile=none "\$@"
END
chmod +x "$directory/bin/ssh"
echo "ready $port $(id -un) $directory/user $directory/bin"
cat >/dev/null
