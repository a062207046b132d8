"""Recomputes golden vectors; the layout of the file is documented in reader.py.

Owns: one check for each section of a vector file. Leaves every rule of the format to the modules it calls.
Invariant: a vector that is not reproduced byte for byte raises `Bad`; a section it does not know does too.
"""

import struct

from blake3 import blake3

import holdfast_format as f
import holdfast_objects as o
from holdfast_format import DK, KH, Bad, need


def cut_lengths(data, gear_key, p):
    """The lengths of the chunks of `data` (section 6.1)."""
    table = blake3(b"holdfast v1 gear table", key=gear_key).digest(length=2048)
    gear, wrap, lengths = struct.unpack("<256Q", table), (1 << 64) - 1, []
    while data:
        lengths.append(cut(data, gear, wrap, p["min"], p["avg"], p["max"], p["mask_small"], p["mask_large"]))
        data = data[lengths[-1]:]
    return lengths


def cut(data, gear, wrap, least, average, most, small, large):
    if len(data) <= least:
        return len(data)
    n = min(len(data), most)
    center, h = min(average, n), 0
    for i in range(least // 2, n // 2):
        mask, a = small if i < center // 2 else large, 2 * i
        h = ((h << 2) + (gear[data[a]] << 1)) & wrap
        if h & (mask << 1) & wrap == 0:
            return a
        h = (h + gear[data[a + 1]]) & wrap
        if h & mask == 0:
            return a + 1
    return n


def plain_json(value):
    """A decoded value as vectors write it: byte strings in hex, text as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {name: plain_json(item) for name, item in value.items()}
    return [plain_json(item) for item in value] if isinstance(value, list) else value


def same(found, expected, what):
    found = plain_json(found)
    if isinstance(found, dict) and isinstance(expected, dict):
        need(found.keys() == expected.keys(), f"{what} has the fields {sorted(found)}, not {sorted(expected)}")
        for name in found:
            same(found[name], expected[name], f"{what}.{name}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, pair in enumerate(zip(found, expected)):
            same(*pair, f"{what}[{number}]")
    else:
        need(type(found) is type(expected) and found == expected, f"{what} is {found!r}, not {expected!r}")


def raw(vector, name):
    return bytes.fromhex(vector[name])


def generate(parts):
    """The bytes that a list of generators describes."""
    out = b""
    for part in parts:
        if "xof" in part:
            out += blake3(part["xof"].encode()).digest(length=part["length"])
        elif "zeros" in part:
            out += bytes(part["zeros"])
        elif "repeat" in part:
            pattern = raw(part, "repeat")
            out += (pattern * (part["length"] // len(pattern) + 1))[:part["length"]]
        else:
            out += raw(part, "hex")
    return out


def check_keys(v):
    root, data_key, secret, salt = raw(v, "root"), raw(v, "data_key"), raw(v, "slot_secret"), raw(v, "slot_salt")
    class_key, ledger = DK("class key", root + v["class_name"].encode()), DK("repository ledger key", root)
    class_ledger = DK("class ledger key", class_key)
    same({
        "admin_seed": DK("admin signing key", root),
        "admin_public_key": f.admin_key(root),
        "repository_ledger_key": ledger,
        "class_key": class_key,
        "class_ledger_key": class_ledger,
        "entry_key_repository": DK("entry key", ledger + raw(v, "entry_salt")),
        "entry_key_class": DK("entry key", class_ledger + raw(v, "entry_salt")),
        "period_sealing_key": DK("period sealing key", class_key + raw(v, "period_salt")),
        "pack_key": DK("pack key", data_key + raw(v, "pack_salt")),
        "index_key": DK("index key", data_key + raw(v, "index_salt")),
        "slot_key": DK("slot key", secret + salt),
        "slot_commitment": DK("slot commitment", secret + salt),
    }, v["expect"], "keys")


def check_sealed(v):
    given = raw(v, "key"), raw(v, "prefix"), v["ordinal"]
    same(f.seal(*given, raw(v, "plaintext")), v["blob"], "blob")
    same(f.unseal(*given, raw(v, "blob")), v["plaintext"], "plaintext")


def check_padded_lengths(v):
    for count, expected in v["table"]:
        same(f.padded(count, v["minimum"]), expected, f"padded({count})")


def check_padded_records(v):
    same(f.padded_decode(raw(v, "padded")), v["record"], "record")


def check_records(v):
    data = raw(v, "hex")
    record = f.record_decode(data)
    same(record.kind, v["kind"], "kind")
    same(record.fields, v["fields"], record.kind)
    same(record.extensions, v.get("extensions", []), "extensions")
    same(f.record_encode(v["kind"], v["fields"], record.extensions), v["hex"], "encoding")


def check_key_files(v):
    same(o.key_file_decode(v["text"]), v["key"], "key")
    lines = [line.strip() for line in v["text"].splitlines() if line.strip() and not line.startswith("#")]
    same(o.key_file_encode(raw(v, "key")), lines[0].lower(), "text")


def check_cut_points(v):
    table = blake3(b"holdfast v1 gear table", key=raw(v, "gear_key")).digest(length=2048)
    same(f.H(table), v["gear_table_hash"], "gear table")
    same(cut_lengths(generate(v["data"]), raw(v, "gear_key"), v), v["lengths"], "lengths")


def check_chunk_ids(v):
    data = generate(v["data"])
    same(KH(raw(v, "content_id_key"), data), v["content_id"], "content id")
    same(KH(raw(v, "tree_id_key"), data), v["node_id"], "node id")


def check_packs(v):
    pack = o.Pack(raw(v, "hex"), raw(v, "data_key"))
    same({"id": pack.id, "writer": pack.writer, "table_offset": pack.table_offset, "table_length": pack.table_length},
         {name: v[name] for name in ("id", "writer", "table_offset", "table_length")}, "pack")
    chunks = o.Chunks({"content_id_key": raw(v, "content_id_key"), "tree_id_key": raw(v, "tree_id_key")})
    chunks.add(pack)
    need(len(pack.rows) == len(v["chunks"]), "the pack has another number of chunks")
    for row, expected in zip(pack.rows, v["chunks"]):
        kind = pack.frames[row.frame].kind
        same({"kind": kind, "frame": row.frame, "depth": row.depth}, {n: expected[n] for n in ("kind", "frame", "depth")}, "row")
        need(row.prefix == raw(expected, "id")[:16], "a row's prefix is not the one of its chunk")
        same(chunks.get(raw(expected, "id"), kind), expected["plaintext"], "plaintext")


def check_index(v):
    data = raw(v, "hex")
    same(f.H(data), v["id"], "id")
    same(f.header_decode(data, f.OBJECT_INDEX).writer, v["writer"], "writer")
    same(o.index_decode(data, raw(v, "data_key")), v["fields"], "index")


def check_entries(v):
    data = raw(v, "hex")
    entry, end = o.entry_decode(data)
    need(end == len(data), "bytes follow the entry")
    o.entry_verify(entry, raw(v, "public_key"))
    same({"id": entry.id, "writer": entry.writer}, {"id": v["id"], "writer": v["writer"]}, "entry")
    same(entry.fields, v["header"], "header")
    body = o.entry_body(entry, raw(v, "ledger_key"))
    same(body.kind, v["kind"], "kind")
    same(body.fields, v["body"], "body")
    enrolment = o.enrolment_decode(entry.fields["enrolment"], raw(v, "admin_key")) if entry.fields["enrolment"] else None
    same(enrolment, v["enrolment"], "enrolment")


def check_repositories(v):
    same(o.repository_decode(raw(v, "hex")), v["fields"], "repository")


def check_slots(v):
    key = o.key_file_decode(v["key_file"]) if "key_file" in v else None
    slot, keyring = o.slot_decode(raw(v, "hex"), key, raw(v, "passphrase_hex") if key is None else None)
    need(keyring is not None, "the secret does not open the slot")
    same(f.H(raw(v, "hex")), v["id"], "id")
    same(slot, v["slot"], "slot")
    same(keyring, v["keyring"], "keyring")


def check_periods(v):
    same(f.H(raw(v, "hex")), v["id"], "id")
    same(o.period_decode(raw(v, "hex"), raw(v, "class_key")), v["fields"], "period")


REFUSED = {
    "record": lambda v: f.record_decode(raw(v, "hex")),
    "padded": lambda v: f.padded_decode(raw(v, "hex")),
    "sealed": lambda v: f.unseal(raw(v, "key"), raw(v, "prefix"), v["ordinal"], raw(v, "hex")),
    "key_file": lambda v: o.key_file_decode(v["text"]),
    "repository": lambda v: o.repository_decode(raw(v, "hex")),
    "slot": lambda v: o.slot_decode(raw(v, "hex"), o.key_file_decode(v["key_file"])),
    "pack": lambda v: o.Pack(raw(v, "hex"), raw(v, "data_key")),
    "entry": lambda v: o.entry_verify(o.entry_decode(raw(v, "hex"))[0], raw(v, "public_key")),
}


def check_refused(v):
    try:
        REFUSED[v["what"]](v)
    except Bad:
        return
    raise Bad("what must be refused was accepted")


CHECKS = {name[6:]: check for name, check in list(globals().items()) if name.startswith("check_")}


def check_vectors(vectors):
    """Checks every vector; returns how many there are in each section."""
    need(vectors["format"] == 1, "the vectors are of another format")
    counts = {}
    for section, rows in vectors.items():
        if section == "format":
            continue
        need(section in CHECKS, f"the section {section} is unknown")
        for number, vector in enumerate(rows):
            try:
                CHECKS[section](vector)
            except (Bad, KeyError, TypeError, struct.error) as error:
                raise Bad(f"{section}[{number}] {vector.get('name', '')}: {error!r}") from error
        counts[section] = len(rows)
    return counts
