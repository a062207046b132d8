"""The bytes of the repository format, version 1, as docs/format.md gives them.

Owns: records and their bodies, object headers, hashes, keys, sealing. Leaves the objects made of them to
holdfast_objects.py, and what they mean together to reader.py. Invariant: nothing is returned that the page tells a reader to refuse; whatever
is wrong raises `Bad`, and whatever is newer than this reader raises `Unknown`.
"""

import re
import struct
from collections import namedtuple
from functools import lru_cache

import zstandard
from blake3 import blake3
from Crypto.Cipher import ChaCha20_Poly1305
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HEADER, TRAILER, SEAL = 96, 112, 32
RECORD_BYTES_MAX, SMALL_OBJECT_BYTES_MAX, ENTRY_BYTES_MAX = 1 << 26, 1 << 20, 1 << 24
LEDGER_OBJECT_BYTES_MAX = PACK_BYTES_MAX = INDEX_BYTES_MAX = 1 << 28
PACK_CHUNKS_MAX, FRAME_PAYLOAD_BYTES_MAX, CHUNK_BYTES_MAX, PATCH_DEPTH_MAX = 1 << 20, 1 << 25, 1 << 24, 32
NODE_HEIGHT_MAX, ATTRIBUTES_BYTES_MAX, TREE_DEPTH_MAX, TEXT_BYTES_MAX = 16, 1 << 22, 4096, 65536
OBJECT_REPOSITORY, OBJECT_SLOT, OBJECT_PERIOD, OBJECT_ENTRY, OBJECT_PACK, OBJECT_INDEX = range(1, 7)
HOLDER_PASSPHRASE, HOLDER_KEY_FILE = 1, 2
RAW, ZSTD = 0, 1
FRAME_CONTENT, FRAME_NODE = 1, 2
AREAS = {1: "packs", 2: "meta"}
CONTENTS = {1: (1, 2, 3), 2: (4,), 3: (5,), 4: (0,), 5: (6,), 6: (6,)}


class Bad(ValueError):
    """Bytes that a reader must refuse."""


class Unknown(Bad):
    """Bytes of a later version that must be understood."""


def need(holds, message):
    if not holds:
        raise Bad(message)


# ---- Bodies (section 1.1). The right-hand sides are the page's own notation. ----

ALIASES = {
    "sums": "entries u64, plaintext_bytes u64, decode_bytes u64",
    "entry": "name bytes, kind u8, mode u32, uid u32, gid u32, mtime time, ctime time, birth option<time>, inode u64, link_group u64, "
    "attributes list<{name bytes, value bytes}>, content content, content_hash option<id32>, extensions list<{tag u16, value bytes}>",
    "pack": "domain u16, area u8, id id32, length u64, table_offset u64, table_length u32",
    "source": "kind u8, roots list<{path bytes, root id32, sums sums}>",
    "counts": "files_new u64, files_changed u64, files_unchanged u64, directories u64, source_bytes u64, new_chunks u64, "
    "new_chunk_bytes u64, stored_bytes u64, packs_written u64, warnings u64",
}
TAGGED = {
    "content": {0: "", 1: "bytes bytes", 2: "items list<item>", 3: "root id32, sums sums", 4: "root id32, sums sums",
                5: "bytes bytes", 6: "major u32, minor u32"},
    "item": {1: "length u32, decode_bytes u32, id id32", 2: "length u64", 3: "length u64", 4: "bytes bytes"},
}
RECORDS = {
    1: ("RECORD_REPOSITORY", "repository id32, admin_key id32, created time"),
    2: ("RECORD_SLOT", "holder u8, argon2_memory_kib u32, argon2_passes u32, argon2_lanes u32, commitment id32, label text, created time"),
    3: ("RECORD_KEYRING", "role u8, repository id32, admin_key id32, root option<id32>, repository_ledger_key option<id32>, "
        "classes list<{name text, key id32}>, ledger_keys list<{name text, key id32}>"),
    4: ("RECORD_PERIOD_SECRETS", "data_key id32, content_id_key id32, tree_id_key id32, gear_key id32"),
    5: ("RECORD_ENTRY_HEADER", "repository id32, sequence u64, time time, previous_received option<time>, parents list<id32>, class text, "
        "last bool, domains list<{class text, period id16}>, packs_added list<pack>, "
        "packs_deleted list<{domain u16, area u8, id id32}>, enrolment bytes"),
    6: ("RECORD_ENROLMENT", "repository id32, writer id16, key id32, role u8, kinds list<u16>, classes list<text>, "
        "valid_from option<time>, valid_until option<time>"),
    7: ("RECORD_TABLE", "row_version u16, frame_stored bytes, frame_payload bytes, frame_chunks bytes, frame_encoding bytes, "
        "frame_kind bytes, row_prefix bytes, row_payload bytes, row_depth bytes, patch_plain bytes, patch_base bytes"),
    8: ("RECORD_INDEX", "row_version u16, packs list<{id id32, area u8, length u64, table_offset u64, table_length u32, "
        "writer id16, salt id32, table bytes}>"),
    16: ("RECORD_TREE_LEAF", "row_version u16, owners list<{id u32, name text}>, groups list<{id u32, name text}>, rows list<entry>"),
    17: ("RECORD_TREE_INNER", "row_version u16, height u8, children list<{first_name bytes, id id32, sums sums}>"),
    18: ("RECORD_LIST_LEAF", "row_version u16, items list<item>"),
    19: ("RECORD_LIST_INNER", "row_version u16, height u8, children list<{id id32, sums sums}>"),
    20: ("RECORD_WARNINGS", "row_version u16, rows list<{kind text, path bytes, message text}>"),
    21: ("RECORD_PROBES", "row_version u16, rows list<{path bytes, failure option<text>, schema_version i32, user_version i32, integrity u8, "
         "complaints list<text>, tables list<{name text, state u8, rows u64, digest option<id32>, message text}>}>"),
    32: ("RECORD_ENROL", "host text, user text, program text"),
    33: ("RECORD_CLASS", "name text, description text, pad_bytes_min u32"),
    34: ("RECORD_PERIOD", "class text, period id16, object id32, starts time, ends option<time>, chunk_bytes_min u32, chunk_bytes_avg u32, "
         "chunk_bytes_max u32, mask_small u64, mask_large u64, frame_bytes u32, pack_bytes u32, page_group_bytes u32"),
    35: ("RECORD_SNAPSHOT", "time time, started time, zone_offset_seconds i32, host text, user text, program text, class text, period id16, tags list<text>, "
         "parent option<id32>, run id16, sources list<source>, counts counts, warnings option<id32>"),
    36: ("RECORD_CHECKPOINT", "run id16"),
    43: ("RECORD_VOID", "voids list<{pack id32, frames list<u32>, whole bool}>, reason text"),
    45: ("RECORD_CHECK", "mode u8, objects u64, read_bytes u64, damaged u64, packs_read list<id32>"),
    46: ("RECORD_RESTORE", "snapshot id32, paths list<bytes>, files u64, bytes u64, damaged u64"),
    49: ("RECORD_KEY", "action u8, slot id32, label text"),
}
KINDS = {name: kind for kind, (name, _) in RECORDS.items()}
# The page's maxima for one field; `text` has TEXT_BYTES_MAX everywhere else.
FIELD_MAX = {
    "entry.name": 4096, "entry.attributes": 4096, "content.1.bytes": 4096, "content.2.items": 64, "content.5.bytes": 65536,
    "item.4.bytes": 4096, "RECORD_TREE_INNER.children.first_name": 4096, "source.roots": 4096, "source.roots.path": 65536,
    "RECORD_WARNINGS.rows": 10000, "RECORD_WARNINGS.rows.path": 65536, "RECORD_SNAPSHOT.tags": 256,
    "RECORD_PROBES.rows": 1024, "RECORD_PROBES.rows.path": 65536, "RECORD_PROBES.rows.complaints": 100, "RECORD_PROBES.rows.tables": 1024,
    "RECORD_ENTRY_HEADER.parents": 4096, "RECORD_ENTRY_HEADER.packs_added": 4096, "RECORD_KEYRING.classes": 1024, "RECORD_KEYRING.ledger_keys": 1024,
}
NUMBERS = {"u8": "<B", "u16": "<H", "u32": "<I", "u64": "<Q", "i64": "<q", "i32": "<i"}
FIXED = {"id16": 16, "id32": 32}


@lru_cache(maxsize=None)
def split_fields(text):
    """Splits `a u8, b list<{c u8, d u8}>` at the commas that stand outside of braces."""
    parts = re.findall(r"(?:[^,{]|\{(?:[^{}]|\{[^{}]*\})*\})+", text)
    return [tuple(part.strip().split(" ", 1)) for part in parts]


class Cursor:
    """A position in bytes that never passes their end."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(count <= len(self.data) - self.at, "the bytes end early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def count(self, maximum):
        count = self.number("<Q")
        need(count <= len(self.data) - self.at and (maximum is None or count <= maximum), "a count is too large")
        return count

    def end(self):
        need(self.at == len(self.data), "bytes are left over")


def decode(kind, cursor, where):
    """One value of the type `kind`, written as in section 1.1; `where` names it for its limits."""
    if kind in NUMBERS:
        return cursor.number(NUMBERS[kind])
    if kind in FIXED:
        return cursor.take(FIXED[kind])
    if kind in ("bytes", "text"):
        value = cursor.take(cursor.count(FIELD_MAX.get(where, TEXT_BYTES_MAX if kind == "text" else None)))
        try:
            return value.decode("utf-8") if kind == "text" else value
        except UnicodeDecodeError as error:
            raise Bad("a text is not UTF-8") from error
    if kind == "time":
        seconds, nanoseconds = cursor.number("<q"), cursor.number("<I")
        need(nanoseconds < 10**9, "a time has too many nanoseconds")
        return {"seconds": seconds, "nanoseconds": nanoseconds}
    if kind == "bool" or kind.startswith("option<"):
        flag = cursor.number("<B")
        need(flag < 2, "a bool or option is neither 0 nor 1")
        return bool(flag) if kind == "bool" else decode(kind[7:-1], cursor, where) if flag else None
    if kind.startswith("list<"):
        return [decode(kind[5:-1], cursor, where) for _ in range(cursor.count(FIELD_MAX.get(where)))]
    if kind in TAGGED:
        tag = cursor.number("<B")
        if tag not in TAGGED[kind]:
            raise Unknown(f"{kind} has the unknown tag {tag}")
        return {"tag": tag, **decode_fields(TAGGED[kind][tag], cursor, f"{kind}.{tag}")}
    return decode_fields(*((ALIASES[kind], cursor, kind) if kind in ALIASES else (kind[1:-1], cursor, where)))


def decode_fields(text, cursor, where):
    fields = {}
    for name, kind in split_fields(text):
        fields[name] = decode(kind, cursor, f"{where}.{name}")
        if name == "row_version" and fields[name] != 1:
            raise Unknown(f"{where} has the unknown row version {fields[name]}")
    return fields


def encode(kind, value):
    """The inverse of `decode`; byte strings may be given in hex, as vectors have them."""
    if kind in NUMBERS:
        return struct.pack(NUMBERS[kind], value)
    if kind in ("id16", "id32", "bytes", "text"):
        raw = value.encode() if kind == "text" else bytes.fromhex(value) if isinstance(value, str) else value
        need(len(raw) == FIXED.get(kind, len(raw)), "an id has the wrong length")
        return raw if kind in FIXED else struct.pack("<Q", len(raw)) + raw
    if kind == "time":
        return struct.pack("<qI", value["seconds"], value["nanoseconds"])
    if kind == "bool":
        return bytes([value])
    if kind.startswith("option<"):
        return b"\0" if value is None else b"\1" + encode(kind[7:-1], value)
    if kind.startswith("list<"):
        return struct.pack("<Q", len(value)) + b"".join(encode(kind[5:-1], item) for item in value)
    if kind in TAGGED:
        return bytes([value["tag"]]) + encode_fields(TAGGED[kind][value["tag"]], value)
    return encode_fields(ALIASES.get(kind, kind[1:-1]), value)


def encode_fields(text, fields):
    return b"".join(encode(kind, fields[name]) for name, kind in split_fields(text))


# ---- Records and headers (sections 1.2 and 1.3) ----

Record = namedtuple("Record", "kind fields extensions")


def record_decode(data, *names):
    """The record that fills `data`, of one of the kinds named (or of any)."""
    need(len(data) <= RECORD_BYTES_MAX, "a record is too large")
    cursor = Cursor(data)
    kind, version, flags, length = (cursor.number(form) for form in ("<H", "<H", "<H", "<I"))
    if kind not in RECORDS or version != 1 or flags:
        raise Unknown(f"a record of kind {kind}, version {version}, flags {flags} is unknown")
    name, text = RECORDS[kind]
    need(not names or name in names, f"{name} stands where another record must")
    body, extensions = Cursor(cursor.take(length)), []
    while cursor.at < len(data):
        tag = cursor.number("<H")
        extensions.append({"tag": tag, "value": cursor.take(cursor.number("<I"))})
    check_extensions(extensions)
    fields = decode_fields(text, body, name)
    body.end()
    validate(name, fields)
    return Record(name, fields, extensions)


def record_encode(name, fields, extensions=()):
    body = encode_fields(RECORDS[KINDS[name]][1], fields)
    tail = b"".join(struct.pack("<HI", e["tag"], len(e["value"])) + e["value"] for e in extensions)
    return struct.pack("<HHHI", KINDS[name], 1, 0, len(body)) + body + tail


def check_extensions(extensions):
    tags = [extension["tag"] for extension in extensions]
    ascending(tags, "extensions")
    if any(tag & 0x8000 for tag in tags):
        raise Unknown("an extension that must be understood is unknown")


def ascending(values, what):
    need(all(a < b for a, b in zip(values, values[1:])), f"{what} are not ascending")


def class_name(name):
    need(re.fullmatch(r"[a-z0-9-]{1,32}", name), "a class name is malformed")


def validate(name, fields):
    """What the page demands of one record beyond its types."""
    if name == "RECORD_TREE_LEAF":
        for who in ("owners", "groups"):
            ascending([row["id"] for row in fields[who]], who)
        ascending([row["name"] for row in fields["rows"]], "entries")
        for row in fields["rows"]:
            validate_entry(row)
    elif name in ("RECORD_TREE_INNER", "RECORD_LIST_INNER"):
        need(1 <= fields["height"] <= NODE_HEIGHT_MAX and fields["children"], "an inner node is malformed")
        if name == "RECORD_TREE_INNER":
            ascending([child["first_name"] for child in fields["children"]], "children")
    elif name == "RECORD_LIST_LEAF":
        validate_items(fields["items"])
    elif name == "RECORD_ENTRY_HEADER":
        ascending(fields["parents"][min(fields["sequence"], 1):], "parents")
        ascending([(d["class"], d["period"]) for d in fields["domains"]], "domains")
        for named in fields["domains"] + ([{"class": fields["class"]}] if fields["class"] else []):
            class_name(named["class"])
        for pack in fields["packs_added"] + fields["packs_deleted"]:
            need(pack["domain"] < len(fields["domains"]) and pack["area"] in AREAS, "a pack's domain or area is unknown")
        need(fields["enrolment"] or fields["sequence"], "the first entry has no enrolment")
    elif name == "RECORD_CLASS":
        class_name(fields["name"])
        need(fields["pad_bytes_min"] <= 1 << 20, "a class pads too much")
    elif name == "RECORD_PERIOD":
        sizes = [fields[f"chunk_bytes_{which}"] for which in ("min", "avg", "max")]
        need(64 <= sizes[0] and sizes == sorted(sizes) and sizes[2] <= CHUNK_BYTES_MAX and not any(s % 2 for s in sizes), "cut parameters are malformed")
    if name in ("RECORD_PERIOD", "RECORD_SNAPSHOT"):
        class_name(fields["class"])
    if name == "RECORD_SNAPSHOT":
        need(fields["tags"] == sorted(fields["tags"], key=str.encode), "tags are not sorted")


def validate_entry(row):
    need(row["name"] not in (b"", b".", b"..") and b"/" not in row["name"] and b"\0" not in row["name"], "a name is malformed")
    need(row["mode"] < 0o10000, "a mode has more than 12 bits")
    attributes = row["attributes"]
    ascending([attribute["name"] for attribute in attributes], "attributes")
    need(sum(len(a["name"]) + len(a["value"]) for a in attributes) <= ATTRIBUTES_BYTES_MAX, "attributes are too large")
    check_extensions(row["extensions"])
    if row["kind"] in CONTENTS:
        need(row["content"]["tag"] in CONTENTS[row["kind"]], "the content does not fit the entry's kind")
    validate_items(row["content"].get("items", []))


def validate_items(items):
    need(all(item.get("length", item.get("bytes")) for item in items), "an item is empty")
    need(all(item["tag"] != 1 or item["length"] <= CHUNK_BYTES_MAX for item in items), "a chunk is too large")


Header = namedtuple("Header", "kind writer salt bytes")


def header_decode(data, kind):
    need(len(data) >= HEADER, "an object is shorter than its header")
    magic, found, _, reader, suite, flags, zero, writer, salt, rest = struct.unpack("<8sHHHHII16s32s24s", data[:HEADER])
    need(magic == b"HOLDFAST", "the magic is wrong")
    if reader > 1 or suite != 1 or flags:
        raise Unknown("the object needs a later reader")
    need(found == kind and zero == 0 and not any(rest), "the object's kind or reserved bytes are wrong")
    need(any(writer) == (kind in (OBJECT_ENTRY, OBJECT_PACK, OBJECT_INDEX)), "the header's writer is wrong")
    need(any(salt) == (kind != OBJECT_REPOSITORY), "the header's salt is wrong")
    return Header(kind, writer, salt, data[:HEADER])


def header_encode(kind, writer=bytes(16), salt=bytes(32)):
    return struct.pack("<8sHHHHII16s32s24s", b"HOLDFAST", kind, 1, 1, 1, 0, 0, writer, salt, bytes(24))


# ---- Hashes, keys and sealing (sections 1 to 3) ----

def H(data):
    return blake3(data).digest()


def KH(key, data):
    return blake3(data, key=key).digest()


def DK(name, material):
    return blake3(material, derive_key_context=f"holdfast v1 {name}").digest()


def signed_by(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Bad("a signature is not valid") from error


def admin_key(root):
    return Ed25519PrivateKey.from_private_bytes(DK("admin signing key", root)).public_key().public_bytes_raw()


def sealed_tail(key, ad, plain):
    return KH(DK("nonce key", key), ad + plain)[:16]


def seal(key, prefix, ordinal, plain):
    ad = prefix + struct.pack("<Q", ordinal)
    tail = sealed_tail(key, ad, plain)
    cipher = ChaCha20_Poly1305.new(key=key, nonce=ad[-8:] + tail)
    cipher.update(ad)
    return tail + b"".join(cipher.encrypt_and_digest(plain))


def unseal(key, prefix, ordinal, blob):
    need(len(blob) >= SEAL, "a sealed blob is too short")
    ad = prefix + struct.pack("<Q", ordinal)
    cipher = ChaCha20_Poly1305.new(key=key, nonce=ad[-8:] + blob[:16])
    cipher.update(ad)
    try:
        return cipher.decrypt_and_verify(blob[16:-16], blob[-16:])
    except ValueError as error:
        raise Bad("a sealed blob does not open") from error


def unzstd(data, maximum, base=b""):
    """Exactly one zstd frame with its content size, made with `base` as prefix."""
    try:
        need(data[:4] == b"\x28\xb5\x2f\xfd", "a zstd frame has no magic")
        size = zstandard.get_frame_parameters(data).content_size
        need(size <= maximum, "a zstd frame has no content size, or one too large")
        prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT) if base else None
        plain = zstandard.ZstdDecompressor(dict_data=prefix).decompress(data, allow_extra_data=False)
        if not size:  # `decompress` looks no further than the header then
            stream = zstandard.ZstdDecompressor().decompressobj()
            need(not stream.decompress(data) and stream.eof and not stream.unused_data, "an empty zstd frame is malformed")
    except zstandard.ZstdError as error:
        raise Bad("a zstd frame does not decompress") from error
    need(len(plain) == size, "a zstd frame has another size than it says")
    return plain


def padded_decode(data):
    """The bytes of the record in a padded record."""
    cursor = Cursor(data)
    encoding, zero, length = cursor.number("<B"), cursor.take(3), cursor.number("<I")
    stored = cursor.take(length)
    need(encoding in (RAW, ZSTD) and not any(zero) and not any(data[cursor.at:]), "a padded record is malformed")
    return stored if encoding == RAW else unzstd(stored, RECORD_BYTES_MAX)


def padded(count, minimum):
    e = max(count.bit_length() - 1, 0)
    unit = 1 << (e - e.bit_length()) if e > 1 else 1
    return max(minimum, -(-count // unit) * unit)
