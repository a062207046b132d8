"""An independent reader of Holdfast repositories, written from docs/format.md alone.

    reader.py list    REPO_DIR (--key-file F | --password-file F)
    reader.py restore REPO_DIR TARGET_DIR (--key-file F | --password-file F) [--snapshot PREFIX|latest]
    reader.py vectors VECTORS_JSON

It exists to prove that the page suffices, so it shares nothing with the Rust code. It owns the ledger's fold. TARGET_DIR must be empty or absent; a root `/a/b` is restored as TARGET_DIR/a/b. The
exit status is 0, or 1 with one line that says what was refused. Of a password file one trailing newline is not counted.

Layout of VECTORS_JSON: an object with `"format": 1` and one list for each section below; a section that is missing makes
the check fail. Byte strings and ids are lower-case hex, text is text, integers are numbers, a time is `{"seconds",
"nanoseconds"}`, an absent option is null, a list is a list, a struct is an object with the page's field names. `sums`,
`counts`, `pack` and `source` are objects too. `content` and `item` are objects with `"tag"` (the number) and the page's fields;
the unnamed `bytes` of CONTENT_INLINE, CONTENT_LINK and ITEM_INLINE are called `"bytes"`. `FIELDS` stands for a whole
body so written. Every vector may have a `"name"`, which errors quote.

    keys            root, class_name (text), entry_salt, period_salt, data_key, pack_salt, index_salt, slot_secret, slot_salt,
                    expect: {admin_seed, admin_public_key, repository_ledger_key, class_key, class_ledger_key,
                    entry_key_repository, entry_key_class, period_sealing_key, pack_key, index_key, slot_key, slot_commitment}
    sealed          key, prefix, ordinal (number), plaintext, blob
    padded_lengths  minimum, table: [[n, padded(n)], ...]
    padded_records  padded, record
    records         kind ("RECORD_..."), hex, fields: FIELDS, extensions: [{tag, value}] (may be left out when there are none)
    key_files       text (the whole file), key
    cut_points      gear_key, gear_table_hash (H of the table's 2,048 bytes), min, avg, max, mask_small, mask_large,
                    data: GENERATORS, lengths: [...]   (cut again and again; no rule about zeros is applied)
    chunk_ids       content_id_key, tree_id_key, data: GENERATORS, content_id, node_id
    packs           hex, data_key, content_id_key, tree_id_key, id, writer, table_offset, table_length,
                    chunks, in the table's order: [{id, kind (1 content, 2 node), frame (number), depth, plaintext}]
    index           hex, data_key, id, writer, fields: FIELDS (`table` in hex)
    entries         hex, ledger_key, public_key, admin_key, id, writer, header: FIELDS, kind ("RECORD_..."), body: FIELDS,
                    enrolment: FIELDS or null
    repositories    hex, fields: FIELDS
    slots           hex, id, key_file (text of the file) or passphrase_hex, slot: FIELDS, keyring: FIELDS
    periods         hex, id, class_key, fields: FIELDS
    refused         what, and bytes that must be refused: "record" (hex), "padded" (hex), "sealed" (key, prefix, ordinal, hex),
                    "key_file" (text), "repository" (hex), "slot" (hex, key_file), "pack" (hex, data_key),
                    "entry" (hex, public_key)

GENERATORS is a list whose parts are concatenated: `{"xof": text, "length": n}`, the first n bytes of BLAKE3's extendable
output of the text; `{"zeros": n}`; `{"repeat": hex, "length": n}`, the pattern repeated and cut; `{"hex": hex}`.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path

import holdfast_format as f
import holdfast_objects as o
import vectors as golden
from holdfast_format import DK, H, Bad, Unknown, need
from restore import Restore, say


def load(path, maximum):
    need(path.stat().st_size <= maximum, f"{path} is too large")
    return path.read_bytes()


class Repository:
    """A repository in a directory, opened with a secret, and the fold of its ledger."""

    def __init__(self, root, key=None, passphrase=None):
        self.root = Path(root)
        self.fields = o.repository_decode(load(self.root / "repository", f.SMALL_OBJECT_BYTES_MAX))
        self.keyring = self.open_keyring(key, passphrase)
        self.class_keys = {row["name"]: row["key"] for row in self.keyring["classes"]}
        self.entries, self.chains = {}, {}
        self.packs, self.voided, self.periods, self.snapshots = {}, {}, {}, {}
        self.read_ledger()
        self.fold()

    def open_keyring(self, key, passphrase):
        for path in sorted((self.root / "keys").iterdir()):
            if not re.fullmatch(r"[0-9a-f]{64}", path.name):
                continue
            try:
                data = load(path, f.SMALL_OBJECT_BYTES_MAX)
                need(H(data).hex() == path.name, "its name is not its hash")
                keyring = o.slot_decode(data, key, passphrase)[1]
            except Bad as error:
                say(f"the slot {path.name} is refused: {error}")
                continue
            if keyring is not None:
                for name in ("repository", "admin_key"):
                    need(keyring[name] == self.fields[name], f"the keyring is for another repository: its {name} differs")
                return keyring
        raise Bad("no key slot opens with this secret")

    def class_key(self, name):
        root = self.keyring["root"]
        return DK("class key", root + name.encode()) if root else self.class_keys.get(name)

    def ledger_key(self, name):
        if name:
            key = self.class_key(name)
            return key and DK("class ledger key", key)
        root = self.keyring["root"]
        return DK("repository ledger key", root) if root else self.keyring["repository_ledger_key"]

    def read_ledger(self):
        for path in sorted((self.root / "ledger").glob("*/*")):
            if not re.fullmatch(r"[0-9a-f]{32}/[0-9a-f]{16}-[0-9a-f]{64}", f"{path.parent.name}/{path.name}"):
                continue
            data = load(path, f.LEDGER_OBJECT_BYTES_MAX)
            first, name = path.name.split("-")
            need(H(data).hex() == name, f"the name of {path.name} is not its hash")
            at, sequence = 0, int(first, 16)
            need(data, f"{path.name} holds no entry")
            while at < len(data):
                entry, at = o.entry_decode(data, at)
                need(entry.fields["sequence"] == sequence and entry.writer.hex() == path.parent.name, f"{path.name} holds a foreign entry")
                need(entry.fields["repository"] == self.fields["repository"], f"{path.name} is of another repository")
                self.entries[entry.id] = entry
                sequence += 1
        for entry in self.entries.values():
            self.chains.setdefault(entry.writer, []).append(entry)

    def fold(self):
        deleted, periods = set(), []
        for writer in sorted(self.chains):
            for entry, body in self.accepted(sorted(self.chains[writer], key=lambda e: (e.fields["sequence"], e.id))):
                place = [(d["class"], d["period"]) for d in entry.fields["domains"]]
                for pack in entry.fields["packs_added"]:
                    self.packs[place[pack["domain"]], pack["area"], pack["id"]] = pack
                deleted |= {(place[pack["domain"]], pack["area"], pack["id"]) for pack in entry.fields["packs_deleted"]}
                if body and body.kind == "RECORD_VOID":
                    for void in body.fields["voids"]:
                        self.voided.setdefault(void["pack"], []).append(void)
                elif body and body.kind == "RECORD_PERIOD":
                    periods.append(body.fields)
                elif body and body.kind == "RECORD_SNAPSHOT":
                    self.snapshots[entry.id] = body.fields
        self.packs = {key: pack for key, pack in self.packs.items() if key not in deleted}
        for period in periods:
            self.periods.setdefault((period["class"], period["period"]), []).append(period)

    def accepted(self, chain):
        """The entries of one chain that count, with the bodies this reader can open."""
        writer = chain[0].writer.hex()
        enrolment = self.verify_chain(chain)
        if enrolment is None:
            return
        for entry in chain:
            key, body = self.ledger_key(entry.fields["class"]), None
            try:
                body = o.entry_body(entry, key) if key else None
                if body and body.extensions:
                    say(f"the entry {entry.id.hex()} has extensions that are ignored")
            except Unknown as error:
                say(f"the entry {entry.id.hex()} is not understood, nothing may be written here: {error}")
            now = entry.fields["time"]["seconds"], entry.fields["time"]["nanoseconds"]
            since, until = ((t["seconds"], t["nanoseconds"]) if t else None for t in (enrolment["valid_from"], enrolment["valid_until"]))
            allowed = (since is None or since <= now) and (until is None or now <= until)
            allowed &= not enrolment["classes"] or not entry.fields["class"] or entry.fields["class"] in enrolment["classes"]
            allowed &= not (body and enrolment["kinds"]) or f.KINDS[body.kind] in enrolment["kinds"]
            if allowed:
                yield entry, body
            else:
                say(f"the entry {entry.id.hex()} of {writer} goes beyond its enrolment and is ignored")

    def verify_chain(self, chain):
        """Checks one writer's chain; the enrolment, or nothing where the chain does not count."""
        by_sequence, writer = {}, chain[0].writer
        for entry in chain:
            by_sequence.setdefault(entry.fields["sequence"], []).append(entry)
        need(0 in by_sequence, f"the chain of {writer.hex()} has a gap at its beginning")
        try:
            enrolments = [self.enrolment(entry) for entry in chain if entry.fields["enrolment"]]
            need(all(enrolment == enrolments[0] for enrolment in enrolments), "it has two that differ")
        except Bad as error:
            say(f"the chain of {writer.hex()} does not count, its enrolment is refused: {error}")
            return None
        for sequence in range(max(by_sequence) + 1):
            entries = by_sequence.get(sequence, [])
            need(entries, f"the chain of {writer.hex()} has a gap at {sequence}")
            if len(entries) > 1:
                say(f"the chain of {writer.hex()} forks at {sequence}")
            for entry in entries:
                o.entry_verify(entry, enrolments[0]["key"])
                parents, before = entry.fields["parents"], [e.id for e in by_sequence.get(sequence - 1, ())]
                need(all(parent in self.entries for parent in parents), f"a parent of the entry {entry.id.hex()} is missing")
                need(not sequence or (parents and parents[0] in before), f"the entry {entry.id.hex()} does not follow its chain")
                if entry.fields["last"] and sequence < max(by_sequence):
                    say(f"the chain of {writer.hex()} goes on after its last entry")
        return enrolments[0]

    def enrolment(self, entry):
        """The enrolment in an entry of a chain, for that chain."""
        enrolment = o.enrolment_decode(entry.fields["enrolment"], self.fields["admin_key"])
        need(enrolment["writer"] == entry.writer, "it is of another writer")
        need(enrolment["repository"] == self.fields["repository"], "it is of another repository")
        return enrolment

    def find(self, wanted):
        if wanted == "latest":
            need(self.snapshots, "there is no snapshot")
            return max(self.snapshots, key=lambda i: (*self.snapshots[i]["time"].values(), i))
        found = [i for i in self.snapshots if i.hex().startswith(wanted.lower())]
        need(len(found) == 1, f"{len(found)} snapshots begin with {wanted}")
        return found[0]

    def chunks(self, domain):
        """The chunks of one period, from the packs that the ledger names."""
        folder = Path(domain[0]) / domain[1].hex()
        need(domain in self.periods and self.class_key(domain[0]), f"no key opens the period {folder}")
        objects = {period["object"] for period in self.periods[domain]}
        need(len(objects) == 1, f"the period {folder} has several objects")
        data = load(self.root / "periods" / folder / (name := objects.pop()).hex(), f.SMALL_OBJECT_BYTES_MAX)
        need(H(data) == name, "a period object's name is not its hash")
        secrets = o.period_decode(data, self.class_key(domain[0]))
        chunks = o.Chunks(secrets)
        for (place, area, pack_id), named in sorted(self.packs.items(), key=lambda item: item[0]):
            voids = self.voided.get(pack_id, [])
            if place == domain and not any(void["whole"] for void in voids):
                path = self.root / f.AREAS[area] / folder / pack_id.hex()
                try:
                    pack = open_pack(path, named, secrets["data_key"])
                except (Bad, OSError) as error:
                    say(f"the pack {path} cannot be used: {error}")
                    continue
                chunks.add(pack, {frame for void in voids for frame in void["frames"]})
        return chunks


def open_pack(path, named, data_key):
    """A pack in a file, verified as a whole; its frames are read again when they are needed."""
    def read(offset, length):
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)
    pack = o.Pack(load(path, f.PACK_BYTES_MAX), data_key, read)
    for name in ("id", "length", "table_offset", "table_length"):
        need(getattr(pack, name) == named[name], f"its {name} is not the one that the ledger names")
    return pack


def secret(arguments):
    if arguments.key_file:
        return {"key": o.key_file_decode(Path(arguments.key_file).read_text("utf-8"))}
    data = Path(arguments.password_file).read_bytes()
    return {"passphrase": data[:-1] if data.endswith(b"\n") else data}


def run(arguments):
    if arguments.command == "vectors":
        counts = golden.check_vectors(json.loads(Path(arguments.vectors).read_text("utf-8")))
        missing = [section for section in golden.CHECKS if not counts.get(section)]
        need(not missing, f"there are no vectors for {', '.join(missing)}")
        print(", ".join(f"{section} {count}" for section, count in counts.items()))
        return
    repository = Repository(arguments.repository, **secret(arguments))
    if arguments.command == "list":
        for snapshot, m in sorted(repository.snapshots.items(), key=lambda item: tuple(item[1]["time"].values())):
            roots = " ".join(os.fsdecode(root["path"]) for source in m["sources"] for root in source["roots"])
            print(snapshot.hex(), m["time"]["seconds"], m["host"], m["class"], ",".join(m["tags"]) or "-", roots)
        return
    manifest = repository.snapshots[repository.find(arguments.snapshot)]
    Restore(repository.chunks((manifest["class"], manifest["period"])), arguments.target).snapshot(manifest)


def main():
    parser = argparse.ArgumentParser(description="reads Holdfast repositories, from docs/format.md alone")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("vectors").add_argument("vectors")
    for name in ("list", "restore"):
        command = commands.add_parser(name)
        command.add_argument("repository")
        if name == "restore":
            command.add_argument("target")
            command.add_argument("--snapshot", default="latest")
        group = command.add_mutually_exclusive_group(required=True)
        group.add_argument("--key-file")
        group.add_argument("--password-file")
    try:
        run(parser.parse_args())
    except (Bad, OSError) as error:
        say(f"refused: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
