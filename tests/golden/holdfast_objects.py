"""The objects of a repository: `repository`, key slots, periods, packs, index segments and ledger entries.

Owns: opening one object from its bytes, with every check that needs no other object. Leaves files, folding and restoring
to reader.py. Invariant: as in holdfast_format.py, what must be refused raises `Bad`.
"""

import re
import struct
from collections import namedtuple

from argon2.low_level import Type, hash_secret_raw

import holdfast_format as f
from holdfast_format import DK, H, KH, Bad, need

TABLE_ORDINAL = (1 << 64) - 1
Row = namedtuple("Row", "prefix frame start length depth plain base")
Frame = namedtuple("Frame", "offset stored payload encoding kind")


def key_file_decode(text):
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    need(len(lines) == 1 and re.fullmatch(r"holdfast-key-1(-[0-9a-f]{8}){9}", lines[0].lower()), "the key file is malformed")
    digits = bytes.fromhex("".join(lines[0].split("-")[3:]))
    need(H(b"holdfast key file" + digits[:32])[:4] == digits[32:], "the key file's check digits are wrong")
    return digits[:32]


def key_file_encode(key):
    digits = (key + H(b"holdfast key file" + key)[:4]).hex()
    return "holdfast-key-1-" + "-".join(digits[i:i + 8] for i in range(0, 72, 8))


def prefixed_record(data, at, name):
    """A record with its length before it; returns the record and where it ends."""
    need(len(data) >= at + 4, "an object ends early")
    end = at + 4 + struct.unpack_from("<I", data, at)[0]
    need(end <= len(data), "an object ends early")
    return f.record_decode(data[at + 4:end], name), end


def repository_decode(data):
    need(len(data) <= f.SMALL_OBJECT_BYTES_MAX, "the repository object is too large")
    f.header_decode(data, f.OBJECT_REPOSITORY)
    record, end = prefixed_record(data, f.HEADER, "RECORD_REPOSITORY")
    need(len(data) == end + 64, "the repository object has the wrong length")
    f.signed_by(record.fields["admin_key"], data[end:], b"holdfast v1 repository" + data[:end])
    return record.fields


def slot_secret(slot, salt, key, passphrase):
    """The secret that opens a slot, or nothing where what is given is for another kind of holder."""
    parameters = memory, passes, lanes = slot["argon2_memory_kib"], slot["argon2_passes"], slot["argon2_lanes"]
    if slot["holder"] == f.HOLDER_KEY_FILE:
        need(parameters == (0, 0, 0), "a key file's slot has Argon2 parameters")
        return key
    if slot["holder"] != f.HOLDER_PASSPHRASE:
        return None
    need(65536 <= memory <= 2097152 and 3 <= passes <= 64 and 1 <= lanes <= 16, "Argon2 parameters are outside of the limits")
    if passphrase is None:
        return None
    return hash_secret_raw(passphrase, salt, passes, memory, lanes, 32, Type.ID, 0x13)


def slot_decode(data, key=None, passphrase=None):
    """The slot's fields and its keyring; the keyring is None where the slot is not the holder's."""
    need(len(data) <= f.SMALL_OBJECT_BYTES_MAX, "a slot is too large")
    header = f.header_decode(data, f.OBJECT_SLOT)
    record, end = prefixed_record(data, f.HEADER, "RECORD_SLOT")
    secret = slot_secret(record.fields, header.salt, key, passphrase)
    if secret is None or DK("slot commitment", secret + header.salt) != record.fields["commitment"]:
        return record.fields, None
    plain = f.unseal(DK("slot key", secret + header.salt), data[:end], 0, data[end:])
    keyring = f.record_decode(f.padded_decode(plain), "RECORD_KEYRING").fields
    if keyring["role"] == 1:
        need(keyring["root"] and keyring["repository_ledger_key"] is None and not keyring["classes"], "an admin's keyring is malformed")
        need(f.admin_key(keyring["root"]) == keyring["admin_key"], "the root does not make the admin key")
    return record.fields, keyring


def period_decode(data, class_key):
    need(len(data) <= f.SMALL_OBJECT_BYTES_MAX, "a period object is too large")
    header = f.header_decode(data, f.OBJECT_PERIOD)
    plain = f.unseal(DK("period sealing key", class_key + header.salt), header.bytes, 0, data[f.HEADER:])
    return f.record_decode(f.padded_decode(plain), "RECORD_PERIOD_SECRETS").fields


def index_decode(data, data_key):
    need(len(data) <= f.INDEX_BYTES_MAX, "an index segment is too large")
    header = f.header_decode(data, f.OBJECT_INDEX)
    plain = f.unseal(DK("index key", data_key + header.salt), header.bytes, 0, data[f.HEADER:])
    record = f.record_decode(f.padded_decode(plain), "RECORD_INDEX")
    for pack in record.fields["packs"]:
        need(pack["area"] in f.AREAS, "a pack's area is unknown")
        table_rows(f.record_decode(pack["table"], "RECORD_TABLE").fields, pack["table_offset"])
    return record.fields


# ---- Packs (section 7) ----

def column(table, name, width):
    data = table[name]
    need(len(data) % width == 0, f"the column {name} has a broken value")
    if width == 16:
        return [data[i:i + 16] for i in range(0, len(data), 16)]
    return list(struct.unpack(f"<{len(data) // width}{'I' if width == 4 else 'B'}", data))


def table_rows(table, table_offset):
    """The frames and rows of a table, whose sums must agree."""
    names = {"stored": 4, "payload": 4, "chunks": 4, "encoding": 1, "kind": 1}
    frames = [column(table, f"frame_{name}", width) for name, width in names.items()]
    rows = [column(table, "row_prefix", 16), column(table, "row_payload", 4), column(table, "row_depth", 1)]
    plains, bases = column(table, "patch_plain", 4), column(table, "patch_base", 16)
    need(len({len(c) for c in frames}) == 1 and len({len(c) for c in rows}) == 1, "columns differ in length")
    need(len(plains) == len(bases) == sum(depth > 0 for depth in rows[2]), "patch columns do not fit the depths")
    need(len(rows[0]) == sum(frames[2]) <= f.PACK_CHUNKS_MAX, "the frames' chunks do not fit the rows")
    need(f.HEADER + sum(frames[0]) == table_offset, "the frames do not end where the table begins")
    out_frames, out_rows, offset, each, patches = [], [], f.HEADER, iter(zip(*rows)), iter(zip(plains, bases))
    for number, (stored, payload, chunks, encoding, kind) in enumerate(zip(*frames)):
        need(encoding in (f.RAW, f.ZSTD) and kind in (f.FRAME_CONTENT, f.FRAME_NODE), "a frame's encoding or kind is unknown")
        need(payload <= f.FRAME_PAYLOAD_BYTES_MAX and stored >= f.SEAL, "a frame's length is outside of the limits")
        need(encoding == f.ZSTD or stored == payload + f.SEAL, "a raw frame's lengths differ")
        start = 0
        for _ in range(chunks):
            prefix, length, depth = next(each)
            plain, base = next(patches) if depth else (length, None)
            need(depth <= f.PATCH_DEPTH_MAX and plain <= f.CHUNK_BYTES_MAX, "a chunk's depth or length is outside of the limits")
            out_rows.append(Row(prefix, number, start, length, depth, plain, base))
            start += length
        need(start == payload, "a frame's payloads do not fit its length")
        out_frames.append(Frame(offset, stored, payload, encoding, kind))
        offset += stored
    return out_frames, out_rows


class Pack:
    """A pack whose id and table were verified; `read(offset, length)` gives its bytes."""

    def __init__(self, data, data_key, read=None):
        need(f.HEADER + f.TRAILER <= len(data) <= f.PACK_BYTES_MAX, "a pack's length is outside of the limits")
        header = f.header_decode(data, f.OBJECT_PACK)
        again, self.table_length, zero, magic = struct.unpack("<96sII8s", data[-f.TRAILER:])
        self.table_offset = len(data) - f.TRAILER - self.table_length
        need(again == header.bytes and magic == b"HOLDFAST" and zero == 0 and self.table_offset >= f.HEADER, "a pack's trailer is malformed")
        self.id, self.length, self.writer = H(data), len(data), header.writer
        self.header, self.key = header.bytes, DK("pack key", data_key + header.salt)
        self.read = read or (lambda offset, length: data[offset:offset + length])
        table = f.unseal(self.key, self.header, TABLE_ORDINAL, data[self.table_offset:-f.TRAILER])
        self.record = f.record_decode(f.padded_decode(table), "RECORD_TABLE").fields
        self.frames, self.rows = table_rows(self.record, self.table_offset)

    def frame(self, number):
        """The payloads of one frame."""
        frame = self.frames[number]
        plain = f.unseal(self.key, self.header, number, self.read(frame.offset, frame.stored))
        plain = plain if frame.encoding == f.RAW else f.unzstd(plain, f.FRAME_PAYLOAD_BYTES_MAX)
        need(len(plain) == frame.payload, "a frame has another length than its table says")
        return plain


class Chunks:
    """The chunks of some packs of one period, found by prefix, decoded and verified."""

    CACHED_BYTES = 1 << 26

    def __init__(self, secrets):
        self.keys = {f.FRAME_CONTENT: secrets["content_id_key"], f.FRAME_NODE: secrets["tree_id_key"]}
        self.places, self.frames, self.plains = {}, {}, {}

    def add(self, pack, voided=()):
        """Makes a pack's chunks findable, except those of frames that must not be relied on."""
        for number, row in enumerate(pack.rows):
            if row.frame not in voided:
                self.places.setdefault(row.prefix, []).append((row.depth, pack.id, number, pack))

    def get(self, chunk, kind):
        """The plaintext with the full id `chunk`; every location is tried until one holds it."""
        wrong = Bad(f"no pack holds the chunk {chunk.hex()}")
        for place in sorted(self.places.get(chunk[:16], ())):
            try:
                need(place[3].frames[place[3].rows[place[2]].frame].kind == kind, "a chunk stands in a frame of another kind")
                plain = self.plain(place)
                need(KH(self.keys[kind], plain) == chunk, "a chunk's id is not the one of its plaintext")
                return plain
            except Bad as error:
                wrong = Bad(f"the chunk {chunk.hex()} cannot be read: {error}")
        raise wrong

    def plain(self, place):
        """What one location decodes to; only its prefix is verified."""
        depth, pack_id, number, pack = place
        if (pack_id, number) not in self.plains:
            row = pack.rows[number]
            payload = self.payloads(pack, row.frame)[row.start:row.start + row.length]
            plain = payload if depth == 0 else f.unzstd(payload, row.plain, self.base(row))
            need(len(plain) == row.plain, "a patch makes another length than its table says")
            need(KH(self.keys[pack.frames[row.frame].kind], plain)[:16] == row.prefix, "a chunk is not the one its table names")
            self.keep(self.plains, (pack_id, number), plain)
        return self.plains[pack_id, number]

    def base(self, row):
        wrong = Bad("a patch's base has no location of smaller depth")
        for place in sorted(self.places.get(row.base, ())):
            try:
                if place[0] < row.depth:
                    return self.plain(place)
            except Bad as error:
                wrong = error
        raise wrong

    def payloads(self, pack, number):
        if (pack.id, number) not in self.frames:
            self.keep(self.frames, (pack.id, number), pack.frame(number))
        return self.frames[pack.id, number]

    def keep(self, cache, key, value):
        """Remembers a value, and forgets the oldest where they become too many bytes."""
        cache[key] = value
        held = sum(map(len, cache.values()))
        while len(cache) > 1 and (held > self.CACHED_BYTES or len(cache) > 256):
            held -= len(cache.pop(next(iter(cache))))


# ---- Ledger entries (section 11) ----

Entry = namedtuple("Entry", "id writer salt fields prefix body signature bytes")


def entry_decode(data, at=0):
    """The entry that begins at `at`, without its signature verified; returns it and where it ends."""
    header = f.header_decode(data[at:at + f.HEADER], f.OBJECT_ENTRY)
    need(len(data) >= at + 104, "an entry ends early")
    first, second = struct.unpack_from("<II", data, at + f.HEADER)
    total = 104 + first + second + 64
    need(total <= f.ENTRY_BYTES_MAX and at + total <= len(data), "an entry's length is outside of the limits")
    whole, end = data[at:at + total], 104 + first
    fields = f.record_decode(whole[104:end], "RECORD_ENTRY_HEADER").fields
    return Entry(H(whole), header.writer, header.salt, fields, whole[:end], whole[end:-64], whole[-64:], whole), at + total


def entry_verify(entry, key):
    f.signed_by(key, entry.signature, b"holdfast v1 ledger entry" + entry.bytes[:-64])


def entry_body(entry, ledger_key):
    """The record in an entry's sealed body."""
    plain = f.unseal(DK("entry key", ledger_key + entry.salt), entry.prefix, 0, entry.body)
    record = f.record_decode(f.padded_decode(plain))
    need(32 <= f.KINDS[record.kind] <= 63, "an entry's body is of a kind that no entry has")
    return record


def enrolment_decode(data, admin_key):
    need(len(data) > 64, "an enrolment is too short")
    f.signed_by(admin_key, data[-64:], b"holdfast v1 enrolment" + data[:-64])
    return f.record_decode(data[:-64], "RECORD_ENROLMENT").fields
