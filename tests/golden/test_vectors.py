"""Every section of a vector file, made here by the page, is recomputed; one changed byte or number is noticed.

The file that `sample` makes has the layout that reader.py documents, so it is also an example of it.
"""

import copy
import json
import struct
import tempfile
import unittest
from pathlib import Path

import holdfast_format as f
import holdfast_objects as o
import reader
import test_reader as t
import vectors
from holdfast_format import DK, H, KH


def records():
    row = t.entry_row(b"x", 1, {"tag": 2, "items": [{"tag": 2, "length": 1}]}, attributes=[{"name": b"user.a", "value": b""}])
    return [("RECORD_CHECKPOINT", {"run": t.PERIOD}), ("RECORD_KEY", {"action": 1, "slot": t.KEY, "label": "é"}),
            ("RECORD_TREE_LEAF", {"row_version": 1, "owners": [{"id": 0, "name": "root"}], "groups": [], "rows": [row]}),
            ("RECORD_VOID", {"voids": [{"pack": t.KEY, "frames": [1, 2], "whole": False}], "reason": "damaged"})]


def pack_sections():
    plain, other = b"base" * 200, b"base" * 100 + b"!" + b"base" * 100
    ids, node = [KH(t.SECRETS["content_id_key"], data) for data in (plain, other)], KH(t.SECRETS["tree_id_key"], b"node")
    rows = [(ids[0], plain, 0, 800, None), (ids[1], t.patch(plain, other), 1, 801, ids[0])]
    data = t.pack_object([(1, f.RAW, rows), (2, f.ZSTD, [(node, b"node", 0, 4, None)])], b"1" * 32)
    pack = o.Pack(data, t.SECRETS["data_key"])
    named = {"id": pack.id, "table_offset": pack.table_offset, "table_length": pack.table_length}
    chunks = zip(ids + [node], (1, 1, 2), (0, 0, 1), (0, 1, 0), (plain, other, b"node"))
    chunks = [dict(zip(("id", "kind", "frame", "depth", "plaintext"), chunk)) for chunk in chunks]
    packs = t.SECRETS | named | {"hex": data, "writer": t.WRITER, "chunks": chunks}
    row = named | {"area": 1, "length": pack.length, "writer": t.WRITER, "salt": b"1" * 32, "table": f.record_encode("RECORD_TABLE", pack.record)}
    fields, header = {"row_version": 1, "packs": [row]}, f.header_encode(f.OBJECT_INDEX, t.WRITER, b"i" * 32)
    plain = t.padded_record(f.record_encode("RECORD_INDEX", fields))
    segment = header + f.seal(DK("index key", t.SECRETS["data_key"] + b"i" * 32), header, 0, plain)
    return packs, {"hex": segment, "data_key": t.SECRETS["data_key"], "id": H(segment), "writer": t.WRITER, "fields": fields}


def slot_section():
    data = t.slot_object()
    slot, keyring = o.slot_decode(data, t.KEY)
    return {"hex": data, "id": H(data), "key_file": o.key_file_encode(t.KEY), "slot": slot, "keyring": keyring}


def entry_section():
    data = t.entry_object(0, [], "RECORD_ENROL", {"host": "h", "user": "u", "program": "p"}, class_="default")
    header = o.entry_decode(data)[0].fields
    return {"hex": data, "ledger_key": DK("class ledger key", t.CLASS_KEY), "public_key": t.WRITER_KEY.public_key().public_bytes_raw(),
            "admin_key": f.admin_key(t.ROOT), "id": H(data), "writer": t.WRITER, "header": header, "kind": "RECORD_ENROL",
            "body": {"host": "h", "user": "u", "program": "p"}, "enrolment": f.record_decode(header["enrolment"][:-64]).fields}


def key_section():
    given = {name: name[0].encode() * 32 for name in ("root", "entry_salt", "period_salt", "data_key", "pack_salt", "index_salt", "slot_secret", "slot_salt")}
    class_key, ledger = DK("class key", given["root"] + b"default"), DK("repository ledger key", given["root"])
    slot, entry = given["slot_secret"] + given["slot_salt"], given["entry_salt"]
    expect = {"admin_seed": DK("admin signing key", given["root"]), "admin_public_key": f.admin_key(given["root"]),
              "repository_ledger_key": ledger, "class_key": class_key, "class_ledger_key": DK("class ledger key", class_key),
              "entry_key_repository": DK("entry key", ledger + entry),
              "entry_key_class": DK("entry key", DK("class ledger key", class_key) + entry),
              "period_sealing_key": DK("period sealing key", class_key + given["period_salt"]),
              "pack_key": DK("pack key", given["data_key"] + given["pack_salt"]),
              "index_key": DK("index key", given["data_key"] + given["index_salt"]),
              "slot_key": DK("slot key", slot), "slot_commitment": DK("slot commitment", slot)}
    return given | {"class_name": "default", "expect": expect}


def cut_section():
    parameters = {"min": 64, "avg": 256, "max": 1024, "mask_small": 0x5353_0000, "mask_large": 0x5000_0000}
    data = [{"xof": "seed", "length": 5000}, {"zeros": 3000}, {"repeat": "010203", "length": 2000}, {"hex": "ff"}]
    lengths = vectors.cut_lengths(vectors.generate(data), t.KEY, parameters)
    table = f.blake3(b"holdfast v1 gear table", key=t.KEY).digest(length=2048)
    return parameters | {"gear_key": t.KEY, "gear_table_hash": H(table), "data": data, "lengths": lengths}


def sample():
    """One vector or more for every section."""
    packs, index = pack_sections()
    header = f.header_encode(f.OBJECT_PERIOD, salt=b"p" * 32)
    secrets = t.padded_record(f.record_encode("RECORD_PERIOD_SECRETS", t.SECRETS))
    period = header + f.seal(DK("period sealing key", t.CLASS_KEY + b"p" * 32), header, 0, secrets)
    repository = t.repository_object()
    made = {
        "keys": [key_section()],
        "sealed": [{"key": t.KEY, "prefix": b"p", "ordinal": (1 << 64) - 1, "plaintext": b"m", "blob": f.seal(t.KEY, b"p", (1 << 64) - 1, b"m")}],
        "padded_lengths": [{"minimum": 256, "table": [[1, 256], [257, 272], [1025, 1088]]}],
        "padded_records": [{"padded": t.padded_record(b"r", e), "record": b"r"} for e in (f.RAW, f.ZSTD)],
        "records": [{"kind": kind, "hex": f.record_encode(kind, fields), "fields": fields} for kind, fields in records()],
        "key_files": [{"text": "# a comment\n" + o.key_file_encode(t.KEY) + "\n", "key": t.KEY}],
        "cut_points": [cut_section()],
        "chunk_ids": [{"content_id_key": t.KEY, "tree_id_key": t.ROOT, "data": [{"hex": "61"}],
                       "content_id": KH(t.KEY, b"a"), "node_id": KH(t.ROOT, b"a")}],
        "packs": [packs], "index": [index], "entries": [entry_section()],
        "repositories": [{"hex": repository, "fields": o.repository_decode(repository)}],
        "slots": [slot_section()], "periods": [{"hex": period, "id": H(period), "class_key": t.CLASS_KEY, "fields": t.SECRETS}],
        "refused": [{"what": "record", "hex": b"short"}, {"what": "pack", "hex": packs["hex"][:-1], "data_key": packs["data_key"]},
                    {"what": "key_file", "text": "holdfast-key-1-"}, {"what": "repository", "hex": t.flip(repository, 130)},
                    {"what": "padded", "hex": struct.pack("<BBHI", 0, 1, 0, 0)}],
    }
    return vectors.plain_json({"format": 1} | made)


def leaves(value, path=()):
    """The places of all values in a vector."""
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from leaves(value[key], (*path, key))
    elif value not in (None, "") and path[-1] != "name":
        yield path


def changed(vector, path):
    vector = copy.deepcopy(vector)
    place = vector
    for key in path[:-1]:
        place = place[key]
    old = place[path[-1]]
    place[path[-1]] = not old if isinstance(old, bool) else old + 1 if isinstance(old, int) else old[:-1] + ("1" if old[-1] != "1" else "2")
    return vector


class Vectors(unittest.TestCase):
    def test_every_section_is_recomputed(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "vectors.json")
            path.write_text(json.dumps(sample()))
            reader.run(reader.argparse.Namespace(command="vectors", vectors=path))
            path.write_text(json.dumps({"format": 1, "sealed": sample()["sealed"]}))
            with self.assertRaisesRegex(f.Bad, "there are no vectors for keys"):
                reader.run(reader.argparse.Namespace(command="vectors", vectors=path))

    def test_a_change_of_any_value_is_noticed(self):
        # A pack has no cut points, and neighbours have one padded length; everything else counts.
        unused = {("packs", "gear_key"), ("padded_lengths", "table")}
        for section, rows in sample().items():
            if section in ("format", "refused", "cut_points", "key_files"):
                continue
            for row in rows:
                for path in leaves(row):
                    with self.subTest(section=section, path=path):
                        if (section, path[0]) not in unused:
                            self.assertRaises((f.Bad, ValueError), vectors.check_vectors, {"format": 1, section: [changed(row, path)]})


if __name__ == "__main__":
    unittest.main()
