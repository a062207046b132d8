"""Writes one snapshot to a directory.

Owns: walking trees and chunk lists, and the files made from them. Leaves finding and verifying chunks to
holdfast_objects.py. Invariant: nothing is written outside of the target, and no byte that was not verified.
"""

import os
import stat
import sys

import holdfast_format as f
from holdfast_format import blake3, need

ZERO_PIECE = bytes(1 << 20)


def say(message):
    print(message, file=sys.stderr)


class Restore:
    """Writes the content of one snapshot below a directory that was empty."""

    def __init__(self, chunks, target):
        self.chunks, self.target = chunks, os.fsencode(target)
        self.directories, self.links = [], {}

    def snapshot(self, manifest):
        os.makedirs(self.target, exist_ok=True)
        need(not os.listdir(self.target), "the target is not empty")
        for source in manifest["sources"]:
            for root in source["roots"]:
                self.root(root["path"], root["root"])
        for path, row in reversed(self.directories):
            self.metadata(path, row)
        if manifest["warnings"]:
            record = f.record_decode(self.chunks.get(manifest["warnings"], f.FRAME_NODE), "RECORD_WARNINGS")
            for row in record.fields["rows"]:
                say(f"the backup warned of {os.fsdecode(row['path'])}: {row['kind']}, {row['message']}")

    def root(self, path, tree):
        parts = [part for part in path.split(b"/") if part]
        need(path == b"/" + b"/".join(parts) and not {b".", b".."} & set(parts) and b"\0" not in path, "a root's path is not normalised")
        rows = list(self.rows(tree))
        need(len(rows) == 1 and rows[0]["name"] == (parts[-1] if parts else b"-"), "a root's tree does not hold the root itself")
        for count in range(1, len(parts)):
            self.directory(os.path.join(self.target, *parts[:count]))
        waiting = [(os.path.join(self.target, *parts), rows[0], 0)]
        while waiting:
            place, row, depth = waiting.pop()
            need(depth <= f.TREE_DEPTH_MAX, "a tree is too deep")
            if self.entry(place, row):
                children = [(os.path.join(place, child["name"]), child, depth + 1) for child in self.rows(row["content"]["root"])]
                waiting.extend(reversed(children))

    def directory(self, path):
        if not os.path.lexists(path):
            os.mkdir(path)
        need(stat.S_ISDIR(os.lstat(path).st_mode), f"{os.fsdecode(path)} is in the way")

    def nodes(self, root, leaf, inner):
        """The leaves of a Merkle tree, in order, with its heights and first names verified."""
        waiting = [(root, None, None)]
        while waiting:
            node, height, first = waiting.pop()
            record = f.record_decode(self.chunks.get(node, f.FRAME_NODE), leaf, inner)
            fields = record.fields
            need(height is None or fields.get("height", 0) == height, "a node's height is wrong")
            if record.kind == leaf:
                names = [row["name"] for row in fields.get("rows", ())]
                need(first is None or (names and names[0] == first), "a node's first name is wrong")
                yield fields
                continue
            children = fields["children"]
            need(first is None or children[0]["first_name"] == first, "a node's first name is wrong")
            waiting.extend((c["id"], fields["height"] - 1, c.get("first_name")) for c in reversed(children))

    def rows(self, root):
        last = b""
        for leaf in self.nodes(root, "RECORD_TREE_LEAF", "RECORD_TREE_INNER"):
            for row in leaf["rows"]:
                need(row["name"] > last, "entries are not ascending over all leaves")
                last = row["name"]
                yield row

    def items(self, content):
        if content["tag"] == 1:
            return iter([{"tag": 4, "bytes": content["bytes"]}])
        if content["tag"] == 2:
            return iter(content["items"])
        return (item for leaf in self.nodes(content["root"], "RECORD_LIST_LEAF", "RECORD_LIST_INNER") for item in leaf["items"])

    def entry(self, path, row):
        """Writes one entry; whether it is a directory whose children follow."""
        kind, content = row["kind"], row["content"]
        if kind == 2:
            self.directory(path)
            self.directories.append((path, row))
            return True
        if kind not in f.CONTENTS:
            say(f"{os.fsdecode(path)}: skipped, its kind {kind} is unknown")
            return False
        if row["link_group"] in self.links and row["link_group"]:
            os.link(self.links[row["link_group"]], path, follow_symlinks=False)
            return False
        try:
            if kind == 1:
                self.file(path, content, row["content_hash"])
            elif kind == 3:
                os.symlink(content["bytes"], path)
            elif kind == 4:
                os.mkfifo(path)
            else:
                device = stat.S_IFCHR if kind == 5 else stat.S_IFBLK
                os.mknod(path, device | 0o600, os.makedev(content["major"], content["minor"]))
        except PermissionError as error:
            say(f"{os.fsdecode(path)}: skipped, {error.strerror}")
            return False
        self.links[row["link_group"]] = path
        self.metadata(path, row)
        return False

    def file(self, path, content, content_hash):
        whole, length = blake3(), 0
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            for item in self.items(content):
                if item["tag"] in (1, 4):
                    data = self.chunks.get(item["id"], f.FRAME_CONTENT) if item["tag"] == 1 else item["bytes"]
                    need(item["tag"] == 4 or len(data) == item["length"], "a chunk has another length than its item says")
                    pieces = [data]
                else:
                    whole_pieces, rest = divmod(item["length"], len(ZERO_PIECE))
                    pieces = (ZERO_PIECE[:rest if n == whole_pieces else None] for n in range(whole_pieces + 1))
                for piece in pieces:
                    file.write(piece) if item["tag"] != 2 else file.seek(len(piece), os.SEEK_CUR)
                    whole.update(piece)
                    length += len(piece)
            file.truncate(length)
        need(content_hash is None or whole.digest() == content_hash, f"the content of {os.fsdecode(path)} has another hash")

    def metadata(self, path, row):
        """Owner, mode, attributes and time; what is not permitted is said and left."""
        link, mtime = row["kind"] == 3, row["mtime"]["seconds"] * 10**9 + row["mtime"]["nanoseconds"]
        steps = [("owner", lambda: os.lchown(path, row["uid"], row["gid"]))]
        if not link:
            steps.append(("mode", lambda: os.chmod(path, row["mode"])))
        for a in row["attributes"]:
            steps.append((os.fsdecode(a["name"]), lambda a=a: os.setxattr(path, a["name"], a["value"], follow_symlinks=False)))
        steps.append(("time", lambda: os.utime(path, ns=(mtime, mtime), follow_symlinks=False)))
        for what, step in steps:
            try:
                step()
            except OSError as error:
                say(f"{os.fsdecode(path)}: {what} not restored, {error.strerror}")
