"""Self-tests of the reader: what is written here by the page is read back, and what is malformed is refused.

Run with `python -m pytest tests/golden`, or as a script.
"""

import os
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import holdfast_format as f
import holdfast_objects as o
import reader
import vectors
from holdfast_format import DK, H, KH, Bad, Unknown

TIME = {"seconds": 1_700_000_000, "nanoseconds": 5}
SUMS = {"entries": 0, "plaintext_bytes": 0, "decode_bytes": 0}
ROOT, KEY, WRITER, PERIOD, REPOSITORY = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 16, bytes([4]) * 16, bytes([5]) * 32
SECRETS = {"data_key": b"d" * 32, "content_id_key": b"c" * 32, "tree_id_key": b"t" * 32, "gear_key": b"g" * 32}
WRITER_KEY = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
CLASS_KEY = DK("class key", ROOT + b"default")


def padded_record(record, encoding=f.RAW, zeros=7):
    stored = record if encoding == f.RAW else zstandard.compress(record)
    return struct.pack("<B3xI", encoding, len(stored)) + stored + bytes(zeros)


def with_length(record):
    return struct.pack("<I", len(record)) + record


def patch(base, plain):
    prefix = zstandard.ZstdCompressionDict(base, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    return zstandard.ZstdCompressor(level=19, dict_data=prefix).compress(plain)


def repository_object():
    fields = {"repository": REPOSITORY, "admin_key": f.admin_key(ROOT), "created": TIME}
    data = f.header_encode(f.OBJECT_REPOSITORY) + with_length(f.record_encode("RECORD_REPOSITORY", fields))
    return data + Ed25519PrivateKey.from_private_bytes(DK("admin signing key", ROOT)).sign(b"holdfast v1 repository" + data)


def slot_object(holder=2, secret=KEY, parameters=(0, 0, 0), repository=REPOSITORY, salt=b"s" * 32):
    slot = dict(zip(("argon2_memory_kib", "argon2_passes", "argon2_lanes"), parameters))
    slot |= {"holder": holder, "commitment": DK("slot commitment", secret + salt), "label": "test", "created": TIME}
    data = f.header_encode(f.OBJECT_SLOT, salt=salt) + with_length(f.record_encode("RECORD_SLOT", slot))
    keyring = {"role": 1, "repository": repository, "admin_key": f.admin_key(ROOT), "root": ROOT, "repository_ledger_key": None, "classes": [],
               "ledger_keys": []}
    record = padded_record(f.record_encode("RECORD_KEYRING", keyring), f.ZSTD)
    return data + f.seal(DK("slot key", secret + salt), data, 0, record)


def pack_object(frames, salt):
    """A pack of frames, each (kind, encoding, [(id, payload, depth, plain length, base)])."""
    header = f.header_encode(f.OBJECT_PACK, WRITER, salt)
    key, data, columns = DK("pack key", SECRETS["data_key"] + salt), header, {name: b"" for name, _ in f.split_fields(f.RECORDS[7][1])}
    for number, (kind, encoding, chunks) in enumerate(frames):
        payload = b"".join(chunk[1] for chunk in chunks)
        blob = f.seal(key, header, number, payload if encoding == f.RAW else zstandard.compress(payload))
        data += blob
        for name, value in zip(("stored", "payload", "chunks"), (len(blob), len(payload), len(chunks))):
            columns[f"frame_{name}"] += struct.pack("<I", value)
        columns["frame_encoding"] += bytes([encoding])
        columns["frame_kind"] += bytes([kind])
        for chunk, stored, depth, plain, base in chunks:
            columns["row_prefix"] += chunk[:16]
            columns["row_payload"] += struct.pack("<I", len(stored))
            columns["row_depth"] += bytes([depth])
            if depth:
                columns["patch_plain"] += struct.pack("<I", plain)
                columns["patch_base"] += base[:16]
    table = f.seal(key, header, o.TABLE_ORDINAL, padded_record(f.record_encode("RECORD_TABLE", columns | {"row_version": 1})))
    return data + table + header + struct.pack("<II8s", len(table), 0, b"HOLDFAST")


def entry_object(sequence, parents, kind, body, packs=(), class_="", key=WRITER_KEY, kinds=(), enrolled=False):
    ledger_key = DK("class ledger key", CLASS_KEY) if class_ else DK("repository ledger key", ROOT)
    enrolment = b""
    if sequence == 0 or enrolled:
        fields = {"repository": REPOSITORY, "writer": WRITER, "key": WRITER_KEY.public_key().public_bytes_raw(), "role": 2,
                  "kinds": list(kinds), "classes": [], "valid_from": None, "valid_until": None}
        record = f.record_encode("RECORD_ENROLMENT", fields)
        admin = Ed25519PrivateKey.from_private_bytes(DK("admin signing key", ROOT))
        enrolment = record + admin.sign(b"holdfast v1 enrolment" + record)
    fields = {"repository": REPOSITORY, "sequence": sequence, "time": TIME, "previous_received": None, "parents": parents, "class": class_,
              "last": False, "domains": [{"class": "default", "period": PERIOD}] if packs else [], "packs_added": list(packs),
              "packs_deleted": [], "enrolment": enrolment}
    header, salt = f.record_encode("RECORD_ENTRY_HEADER", fields), bytes([9, sequence]) * 16
    plain = padded_record(f.record_encode(kind, body))
    data = f.header_encode(f.OBJECT_ENTRY, WRITER, salt) + struct.pack("<II", len(header), len(plain) + f.SEAL) + header
    data += f.seal(DK("entry key", ledger_key + salt), data, 0, plain)
    return data + key.sign(b"holdfast v1 ledger entry" + data)


def entry_row(name, kind, content, **more):
    return {"name": name, "kind": kind, "mode": 0o755 if kind == 2 else 0o640, "uid": os.getuid(), "gid": os.getgid(), "mtime": TIME,
            "ctime": TIME, "birth": None, "inode": 1, "link_group": 0, "attributes": [], "content": content, "content_hash": None,
            "extensions": []} | more


class Writer:
    """A whole repository in memory: one chain, one period, one pack of content and one of nodes."""

    def __init__(self):
        self.contents, self.nodes = [], []

    def content(self, plain, base=None, depth=0):
        chunk = KH(SECRETS["content_id_key"], plain)
        self.contents.append((chunk, patch(base, plain) if depth else plain, depth, len(plain), base and KH(SECRETS["content_id_key"], base)))
        return {"tag": 1, "length": len(plain), "decode_bytes": len(plain), "id": chunk}

    def node(self, kind, **fields):
        record = f.record_encode(kind, {"row_version": 1} | fields)
        self.nodes.append((KH(SECRETS["tree_id_key"], record), record, 0, len(record), None))
        return self.nodes[-1][0]

    def leaf(self, *rows):
        return self.node("RECORD_TREE_LEAF", owners=[], groups=[], rows=list(rows))

    def tree(self):
        """The tree of `/data`, with every kind of content that needs no privilege."""
        first = bytes(range(256)) * 16
        second = first[:2000] + b"changed" + first[2000:]
        third = second + b"!"
        items = [self.content(first), self.content(second, first, 1), self.content(third, second, 2)]
        leaf = self.node("RECORD_LIST_LEAF", items=items + [{"tag": 2, "length": 3 << 20}, {"tag": 3, "length": 5}, {"tag": 4, "bytes": b"end"}])
        listed = self.node("RECORD_LIST_INNER", height=1, children=[{"id": leaf, "sums": SUMS}])
        whole = first + second + third + bytes((3 << 20) + 5) + b"end"
        big = {"tag": 3, "root": listed, "sums": SUMS}
        one = self.leaf(entry_row(b"big", 1, big, link_group=7, content_hash=H(whole)), entry_row(b"link", 1, big, link_group=7))
        two = self.leaf(entry_row(b"small", 1, {"tag": 1, "bytes": b"hello"}), entry_row(b"to", 3, {"tag": 5, "bytes": b"small"}))
        children = [{"first_name": n, "id": i, "sums": SUMS} for n, i in ((b"big", one), (b"small", two))]
        inner = self.node("RECORD_TREE_INNER", height=1, children=children)
        return self.leaf(entry_row(b"data", 2, {"tag": 4, "root": inner, "sums": SUMS})), whole

    def write(self, folder, change=lambda objects: None, kinds=()):
        root, whole = self.tree()
        warnings = self.node("RECORD_WARNINGS", rows=[{"kind": "skipped", "path": b"/p", "message": "m"}])
        domain, objects = f"default/{PERIOD.hex()}", {"repository": repository_object()}
        objects[f"keys/{H(slot_object()).hex()}"] = slot_object()
        header = f.header_encode(f.OBJECT_PERIOD, salt=b"p" * 32)
        sealing = DK("period sealing key", CLASS_KEY + b"p" * 32)
        period = header + f.seal(sealing, header, 0, padded_record(f.record_encode("RECORD_PERIOD_SECRETS", SECRETS)))
        objects[f"periods/{domain}/{H(period).hex()}"] = period
        packs = [self.pack(objects, domain, 1, [(1, f.RAW, self.contents)], b"1" * 32), self.pack(objects, domain, 2, [(2, f.ZSTD, self.nodes)], b"2" * 32)]
        first = entry_object(0, [], "RECORD_ENROL", {"host": "h", "user": "u", "program": "p"}, kinds=kinds)
        names = ("chunk_bytes_min", "chunk_bytes_avg", "chunk_bytes_max", "mask_small", "mask_large", "frame_bytes", "pack_bytes", "page_group_bytes")
        body = dict.fromkeys(names, 0) | {"class": "default", "period": PERIOD, "object": H(period), "starts": TIME, "ends": None}
        body |= {"chunk_bytes_min": 64, "chunk_bytes_avg": 128, "chunk_bytes_max": 256}
        second = entry_object(1, [H(first)], "RECORD_PERIOD", body, class_="default")
        manifest = {"time": TIME, "started": TIME, "zone_offset_seconds": 3600, "host": "h", "user": "u", "program": "p", "class": "default", "period": PERIOD,
                    "tags": ["a", "b"], "parent": None, "run": b"r" * 16, "warnings": warnings,
                    "sources": [{"kind": 1, "roots": [{"path": b"/srv/data", "root": root, "sums": SUMS}]}],
                    "counts": {name: 0 for name, _ in f.split_fields(f.ALIASES["counts"])}}
        third = entry_object(2, [H(second)], "RECORD_SNAPSHOT", manifest, packs, "default")
        for sequence, data in ((0, first + second), (2, third)):
            objects[f"ledger/{WRITER.hex()}/{sequence:016x}-{H(data).hex()}"] = data
        change(objects)
        for name, data in objects.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return whole

    @staticmethod
    def pack(objects, domain, area, frames, salt):
        data = pack_object(frames, salt)
        objects[f"{f.AREAS[area]}/{domain}/{H(data).hex()}"] = data
        length = struct.unpack_from("<I", data, len(data) - 16)[0]
        return {"domain": 0, "area": area, "id": H(data), "length": len(data), "table_offset": len(data) - f.TRAILER - length, "table_length": length}


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


class Repositories(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.source, self.target = (os.path.join(self.folder.name, name) for name in ("repository", "target"))

    def restore(self, change=lambda objects: None, **more):
        whole = Writer().write(self.source, change, **more)
        repository = reader.Repository(self.source, key=KEY)
        manifest = repository.snapshots[repository.find("latest")]
        reader.Restore(repository.chunks((manifest["class"], manifest["period"])), self.target).snapshot(manifest)
        return whole

    def test_a_snapshot_is_restored_with_patches_holes_and_links(self):
        whole, folder = self.restore(), Path(self.target) / "srv/data"
        self.assertEqual((folder / "big").read_bytes(), whole)
        self.assertTrue(os.path.samefile(folder / "big", folder / "link"))
        self.assertEqual((folder / "to").read_text(), "hello")
        self.assertEqual(os.readlink(folder / "to"), "small")
        self.assertEqual(os.stat(folder / "small").st_mode & 0o7777, 0o640)
        self.assertEqual(os.stat(folder).st_mtime_ns, TIME["seconds"] * 10**9 + 5)

    def test_the_command_line_lists_and_restores(self):
        Writer().write(self.source)
        key = Path(self.folder.name, "key")
        key.write_text(o.key_file_encode(KEY) + "\n")
        for command, status in ((["list", self.source], 0), (["restore", self.source, self.target], 0), (["restore", self.source, self.target], 1)):
            script = [sys.executable, str(Path(reader.__file__)), *command, "--key-file", str(key)]
            done = subprocess.run(script, capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, status, done.stderr)
        self.assertIn("refused: the target is not empty", done.stderr)
        self.assertEqual(Path(self.target, "srv/data/small").read_text(), "hello")

    def test_names_outside_of_the_layout_are_ignored(self):
        self.restore(lambda objects: objects.update({f"ledger/{WRITER.hex()}/x.tmp": b"", "keys/notes.txt": b"x"}))

    def test_damage_anywhere_is_refused(self):
        for area in ("repository", "keys", "periods", "ledger", "packs", "meta"):
            def damage(objects, area=area):
                name = next(name for name in objects if name.startswith(area))
                objects[name] = flip(objects[name], len(objects[name]) // 2)
            with self.subTest(area), self.assertRaises(Bad):
                self.restore(damage)
            self.folder.cleanup()

    def test_a_chain_with_a_gap_is_refused(self):
        with self.assertRaisesRegex(Bad, "gap"):
            self.restore(lambda objects: objects.pop(next(n for n in objects if "/0000000000000000-" in n)))

    def test_a_keyring_of_another_repository_is_refused(self):
        def change(objects):
            objects.pop(next(name for name in objects if name.startswith("keys")))
            slot = slot_object(repository=b"x" * 32)
            objects[f"keys/{H(slot).hex()}"] = slot
        with self.assertRaisesRegex(Bad, "another repository"):
            self.restore(change)

    def test_an_enrolment_that_is_repeated_must_be_the_same(self):
        def again(kinds):
            def change(objects):
                before = next(data for name, data in objects.items() if "/0000000000000002-" in name)
                entry = entry_object(3, [H(before)], "RECORD_CHECKPOINT", {"run": PERIOD}, kinds=kinds, enrolled=True)
                objects[f"ledger/{WRITER.hex()}/{3:016x}-{H(entry).hex()}"] = entry
            return change
        self.restore(again([]))
        self.folder.cleanup()
        with self.assertRaisesRegex(Bad, "no snapshot"):
            self.restore(again([36]))

    def test_entries_beyond_the_enrolment_are_ignored(self):
        with self.assertRaisesRegex(Bad, "no snapshot"):
            self.restore(kinds=[32, 34])


class Pieces(unittest.TestCase):
    def refused(self, call, *given, kind=Bad):
        with self.assertRaises(kind):
            call(*given)

    def test_sealed_blobs_open_only_unchanged(self):
        blob = f.seal(KEY, b"prefix", 3, b"plain")
        self.assertEqual(len(blob), 5 + f.SEAL)
        self.assertEqual(f.unseal(KEY, b"prefix", 3, blob), b"plain")
        for key, prefix, ordinal, data in ((ROOT, b"prefix", 3, blob), (KEY, b"other", 3, blob), (KEY, b"prefix", 4, blob), (KEY, b"prefix", 3, b"")):
            self.refused(f.unseal, key, prefix, ordinal, data)
        for at in range(len(blob)):
            self.refused(f.unseal, KEY, b"prefix", 3, flip(blob, at))

    def test_records_have_one_encoding_and_refuse_the_rest(self):
        good = f.record_encode("RECORD_CHECKPOINT", {"run": PERIOD}, [{"tag": 5, "value": b"kept"}])
        self.assertEqual(f.record_decode(good).extensions, [{"tag": 5, "value": b"kept"}])
        self.refused(f.record_decode, good[:-1])
        self.refused(f.record_decode, good + b"\0")
        self.refused(f.record_decode, good + good[26:])
        for at in (0, 2, 4):
            self.refused(f.record_decode, flip(good, at), kind=Unknown)
        must = f.record_encode("RECORD_CHECKPOINT", {"run": PERIOD}, [{"tag": 0x8001, "value": b""}])
        self.refused(f.record_decode, must, kind=Unknown)
        rows = f.record_encode("RECORD_LIST_LEAF", {"row_version": 2, "items": []})
        self.refused(f.record_decode, rows, kind=Unknown)
        huge = struct.pack("<HHHI", 18, 1, 0, 10) + struct.pack("<HQ", 1, 1 << 60)
        self.refused(f.record_decode, huge)

    def test_entries_are_sorted_and_well_named(self):
        def leaf(*names):
            rows = [entry_row(name, 4, {"tag": 0}) for name in names]
            return f.record_encode("RECORD_TREE_LEAF", {"row_version": 1, "owners": [], "groups": [], "rows": rows})
        f.record_decode(leaf(b"a", b"b"))
        for names in ((b"b", b"a"), (b"a", b"a"), (b"..",), (b"a/b",), (b"",), (b"\0",)):
            self.refused(f.record_decode, leaf(*names))

    def test_padded_records_hold_zeros_only(self):
        for encoding in (f.RAW, f.ZSTD):
            self.assertEqual(f.padded_decode(padded_record(b"record", encoding)), b"record")
            self.refused(f.padded_decode, padded_record(b"record", encoding) + b"\1")
        self.refused(f.padded_decode, flip(padded_record(b"record"), 1))
        self.refused(f.padded_decode, padded_record(b"record", zeros=0)[:-1])
        extra = zstandard.compress(b"record") + b"x"
        self.refused(f.padded_decode, struct.pack("<B3xI", f.ZSTD, len(extra)) + extra)

    def test_zstd_frames_are_whole_and_alone(self):
        for plain in (b"", b"plain" * 9):
            frame = zstandard.compress(plain)
            self.assertEqual(f.unzstd(frame, 45), plain)
            for wrong in (frame[:-1], frame + b"x", frame + frame, b"\x50\x2a\x4d\x18" + bytes(4) + frame):
                self.refused(f.unzstd, wrong, 45)
        self.refused(f.unzstd, zstandard.compress(bytes(46)), 45)
        self.refused(f.unzstd, zstandard.ZstdCompressor(write_content_size=False).compress(b"plain"), 45)

    def test_padded_lengths(self):
        self.assertEqual([f.padded(n, 256) for n in (1, 256, 257, 1000, 1025, 100_000)], [256, 256, 272, 1024, 1088, 100_352])

    def test_key_files(self):
        text = "# a comment\n\n" + o.key_file_encode(KEY).upper() + "\n"
        self.assertEqual(o.key_file_decode(text), KEY)
        for wrong in (text.replace("02", "03", 1), text + text, "", text[:-2]):
            self.refused(o.key_file_decode, wrong)

    def test_slots_open_with_a_passphrase_within_limits(self):
        secret = o.hash_secret_raw(b"pass", b"s" * 32, 3, 65536, 1, 32, o.Type.ID, 0x13)
        data = slot_object(1, secret, (65536, 3, 1))
        self.assertEqual(o.slot_decode(data, passphrase=b"pass")[1]["root"], ROOT)
        self.assertIsNone(o.slot_decode(data, passphrase=b"other")[1])
        self.refused(o.slot_decode, slot_object(1, secret, (65536, 65, 1)), None, b"pass")

    def test_a_trailer_that_does_not_repeat_the_header_is_refused(self):
        chunk = KH(SECRETS["content_id_key"], b"x")
        data = pack_object([(1, f.RAW, [(chunk, b"x", 0, 1, None)])], b"1" * 32)
        for at in (1, 9, 20, 60, 111, 112):
            self.refused(o.Pack, flip(data, len(data) - at), SECRETS["data_key"])

    def test_tables_whose_sums_disagree_are_refused(self):
        chunk = KH(SECRETS["content_id_key"], b"x")
        pack = o.Pack(pack_object([(1, f.RAW, [(chunk, b"x", 0, 1, None)])], b"1" * 32), SECRETS["data_key"])
        for name, value in (("frame_payload", 2), ("frame_chunks", 2), ("frame_stored", 9), ("row_payload", 3)):
            self.refused(o.table_rows, pack.record | {name: struct.pack("<I", value)}, pack.table_offset)
        self.refused(o.table_rows, pack.record | {"row_depth": b"\1"}, pack.table_offset)
        self.refused(o.table_rows, pack.record | {"row_prefix": b"short"}, pack.table_offset)

    def test_a_location_that_is_voided_or_wrong_gives_way_to_another(self):
        a, chunks = b"a" * 100, o.Chunks(SECRETS)
        chunk = KH(SECRETS["content_id_key"], a)
        wrong = o.Pack(pack_object([(1, f.RAW, [(chunk, b"x", 0, 1, None)])], b"1" * 32), SECRETS["data_key"])
        right = o.Pack(pack_object([(1, f.RAW, [(chunk, a, 0, 100, None)])], b"2" * 32), SECRETS["data_key"])
        chunks.add(wrong)
        chunks.add(right, voided={0})
        self.refused(chunks.get, chunk, 1)
        chunks.add(right)
        self.assertEqual(chunks.get(chunk, 1), a)
        self.refused(chunks.get, chunk[:16] + bytes(16), 1)

    def test_a_base_of_the_same_depth_is_refused(self):
        a, b = b"a" * 100, b"b" * 100
        ids = [KH(SECRETS["content_id_key"], plain) for plain in (a, b)]
        rows = [(ids[0], patch(b, a), 1, 100, ids[1]), (ids[1], patch(a, b), 1, 100, ids[0])]
        chunks = o.Chunks(SECRETS)
        chunks.add(o.Pack(pack_object([(1, f.RAW, rows)], b"1" * 32), SECRETS["data_key"]))
        self.refused(chunks.get, ids[0], 1)

    def test_cut_points_cover_the_data(self):
        p = {"min": 64, "avg": 256, "max": 1024, "mask_small": 0x5353_0000, "mask_large": 0x5000_0000}
        data = vectors.generate([{"xof": "cut", "length": 20_000}, {"zeros": 5_000}, {"repeat": "0102", "length": 3}])
        lengths = vectors.cut_lengths(data, SECRETS["gear_key"], p)
        self.assertEqual(sum(lengths), len(data))
        self.assertTrue(all(64 <= length <= 1024 for length in lengths[:-1]) and len(set(lengths)) > 5)

    def test_vectors_are_compared_byte_for_byte(self):
        data = f.record_encode("RECORD_CHECKPOINT", {"run": PERIOD})
        vector = {"kind": "RECORD_CHECKPOINT", "hex": data.hex(), "fields": {"run": PERIOD.hex()}}
        entry = entry_object(0, [], "RECORD_ENROL", {"host": "h", "user": "u", "program": "p"})
        refused = {"what": "entry", "hex": flip(entry, len(entry) - 70).hex(), "public_key": WRITER_KEY.public_key().public_bytes_raw().hex()}
        good = {"format": 1, "records": [vector], "refused": [refused]}
        self.assertEqual(vectors.check_vectors(good), {"records": 1, "refused": 1})
        self.refused(vectors.check_vectors, {"format": 1, "records": [vector | {"fields": {"run": "00" * 16}}]})
        self.refused(vectors.check_vectors, {"format": 1, "refused": [refused | {"hex": entry.hex()}]})


if __name__ == "__main__":
    unittest.main()
