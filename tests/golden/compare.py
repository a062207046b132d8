"""Restores every snapshot of a golden repository, and compares what came out with what its expectations say.

    compare.py VERSION TARGET_DIR (--key-file F | --password-file F)

Owns: the comparison with `VERSION.expected.json`, a list of snapshots from the oldest to the newest, each with its `tags` and its `entries`: hex of the path to `kind`,
`mode`, `mtime` ([seconds, nanoseconds]), `size` and `blake3` of files, `target` of links (hex), `attributes` (hex to hex) and `same` (hex of the first path of a file
with several names). Leaves opening and restoring to reader.py. Invariant: an entry that is missing, or that nobody expects, is a difference.
"""

import argparse
import json
import os
import stat
import sys
from pathlib import Path

import reader
from holdfast_format import H, Bad
from restore import Restore

KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo"}


def look(path, attributes):
    """What stands at a path, as expectations write it."""
    found = os.lstat(path)
    kind = KINDS[stat.S_IFMT(found.st_mode)]
    entry = {"kind": kind, "mtime": [found.st_mtime_ns // 10**9, found.st_mtime_ns % 10**9]}
    if kind != "link":
        entry["mode"] = stat.S_IMODE(found.st_mode)
    if kind == "file":
        with open(path, "rb") as file:
            entry |= {"size": found.st_size, "blake3": H(file.read()).hex()}
    if kind == "link":
        entry["target"] = os.readlink(path).hex()
    if attributes:
        entry["attributes"] = {name: os.getxattr(path, bytes.fromhex(name)).hex() for name in attributes}
    return entry


def differences(target, entries):
    """Says where the tree below `target` is another than expected."""
    root = os.fsencode(target)
    found = set()
    for folder, directories, files in os.walk(root):
        found |= {os.path.join(folder, name)[len(root):].hex() for name in directories + files}
    roots = {name for name in entries if not any(bytes.fromhex(name).startswith(bytes.fromhex(other) + b"/") for other in entries)}
    above = {bytes.fromhex(name)[:at].hex() for name in roots for at in range(1, len(name) // 2) if bytes.fromhex(name)[at:at + 1] == b"/"}
    for name in sorted(found - set(entries) - above):
        yield f"{bytes.fromhex(name)!r} is not expected"
    for name, expected in entries.items():
        path = root + bytes.fromhex(name)
        if name not in found:
            yield f"{bytes.fromhex(name)!r} is missing"
            continue
        expected = dict(expected)
        same = expected.pop("same", None)
        entry = look(path, expected.get("attributes"))
        if expected["kind"] == "link":
            expected.pop("mode")
        if entry != expected:
            yield f"{bytes.fromhex(name)!r} is {entry}, not {expected}"
        if same and not os.path.samefile(path, root + bytes.fromhex(same)):
            yield f"{bytes.fromhex(name)!r} is another file than {bytes.fromhex(same)!r}"


def main():
    parser = argparse.ArgumentParser(description="compares a golden repository with its expectations")
    parser.add_argument("version")
    parser.add_argument("target")
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--key-file")
    group.add_argument("--password-file")
    arguments = parser.parse_args()
    expected = json.loads(Path(f"{arguments.version}.expected.json").read_text("utf-8"))
    repository = reader.Repository(arguments.version, **reader.secret(arguments))
    manifests = sorted(repository.snapshots.values(), key=lambda manifest: tuple(manifest["time"].values()))
    problems = [] if len(manifests) == len(expected) else [f"there are {len(manifests)} snapshots, not {len(expected)}"]
    for number, (manifest, snapshot) in enumerate(zip(manifests, expected)):
        target = f"{arguments.target}-{number}"
        Restore(repository.chunks((manifest["class"], manifest["period"])), target).snapshot(manifest)
        if manifest["tags"] != snapshot["tags"]:
            problems.append(f"the tags are {manifest['tags']}, not {snapshot['tags']}")
        problems += [f"snapshot {number}: {difference}" for difference in differences(target, snapshot["entries"])]
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    print(f"{arguments.version}: {len(manifests)} snapshots, {sum(len(s['entries']) for s in expected)} entries, {len(problems)} differences")
    return 1 if problems else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Bad as error:
        sys.exit(f"refused: {error}")
