#!/usr/bin/env bash
# Starts Garage, an S3 server, on loopback for one test: `garage.sh DIRECTORY`.
#
# Prints `ready ENDPOINT KEY SECRET BUCKET` once it listens and the bucket is there, or `missing WHAT` where this machine has none. Ends when its standard input ends.
set -euo pipefail
directory=$1

if ! command -v garage >/dev/null; then
    echo 'missing Garage'
    exit 0
fi

server=
finish() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
}
trap finish EXIT

secret=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
for attempt in {1..20}; do
    rpc=$((20000 + (RANDOM * 32768 + RANDOM) % 40000))
    s3=$((rpc + 1))
    cat >"$directory/config" <<END
metadata_dir = "$directory/meta"
data_dir = "$directory/data"
db_engine = "sqlite"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$rpc"
rpc_public_addr = "127.0.0.1:$rpc"
rpc_secret = "$secret"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$s3"
END
    garage -c "$directory/config" server >"$directory/log" 2>&1 </dev/null &
    server=$!
    for wait in {1..200}; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$s3") 2>/dev/null; then break 2; fi
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

ask() { garage -c "$directory/config" "$@" 2>>"$directory/log"; }
node=$(ask node id -q | cut -d@ -f1)
ask layout assign -z here -c 1G "$node" >/dev/null
ask layout apply --version 1 >/dev/null
ask bucket create test >/dev/null
ask key create test >"$directory/key"
ask bucket allow --read --write test --key test >/dev/null
key=$(sed -n 's/^Key ID: *//p' "$directory/key")
secret=$(sed -n 's/^Secret key: *//p' "$directory/key")
echo "ready http://127.0.0.1:$s3 $key $secret test"
cat >/dev/null
