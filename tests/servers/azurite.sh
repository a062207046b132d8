#!/usr/bin/env bash
# Starts Azurite, an Azure Blob server, on loopback for one test: `azurite.sh DIRECTORY`.
#
# Prints `ready ENDPOINT ACCOUNT KEY CONTAINER` once it listens and the container is there, or `missing WHAT` where this machine has none. Ends when its standard input ends.
set -euo pipefail
directory=$1

if ! command -v azurite-blob >/dev/null || ! command -v node >/dev/null; then
    echo 'missing Azurite: npm install -g azurite'
    exit 0
fi

# Made for this run: account and key are what the server is told.
account=holdfast
key=$(head -c 64 /dev/urandom | base64 -w0)

server=
finish() {
    if [[ -n $server ]]; then kill "$server" 2>/dev/null || true; fi
}
trap finish EXIT

for attempt in {1..20}; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 40000))
    : >"$directory/log"
    AZURITE_ACCOUNTS="$account:$key" azurite-blob --silent --skipApiVersionCheck --blobHost 127.0.0.1 --blobPort "$port" \
        --location "$directory/files" --disableTelemetry >"$directory/log" 2>&1 </dev/null &
    server=$!
    for wait in {1..200}; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break 2; fi
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

endpoint=http://127.0.0.1:$port/$account
node - "$endpoint" "$account" "$key" <<'END'
// Creates the container: a request signed with the account's key.
const [endpoint, account, key] = process.argv.slice(2);
const crypto = require("node:crypto");
const headers = { "x-ms-date": new Date().toUTCString(), "x-ms-version": "2021-08-06" };
const lines = Object.entries(headers).map(([name, value]) => `${name}:${value}\n`).join("");
const text = `PUT${"\n".repeat(12)}${lines}/${account}/${account}/test\nrestype:container`;
const signature = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(text, "utf8").digest("base64");
headers.authorization = `SharedKey ${account}:${signature}`;
fetch(`${endpoint}/test?restype=container`, { method: "PUT", headers }).then(async (answer) => {
    if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
});
END
echo "ready $endpoint $account $key test"
cat >/dev/null
