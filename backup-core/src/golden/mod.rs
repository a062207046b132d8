//! Golden vectors: bytes of every structure of the format, compared with those that were committed and read back by another reader.
//!
//! They are made here from fixed seeds through the same code that writes repositories, and lie in `tests/golden/vectors.json`, in the layout that
//! `tests/golden/reader.py` documents. With `HOLDFAST_GOLDEN_WRITE=1` the file is written instead of compared. The invariant: bytes that were committed once stay readable
//! for ever, so [`reading`] decodes the committed file, whatever this program would write today.

mod count;
mod fixture;
mod json;
mod objects;
mod packs;
mod pieces;
mod reading;
mod records;
mod refusals;
mod trees;

use std::path::PathBuf;

use serde_json::Value;

use fixture::Fixture;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/vectors.json")
}

/// The vectors that were committed.
fn committed() -> Value {
    serde_json::from_slice(&std::fs::read(path()).unwrap()).unwrap()
}

/// One section: its name and its vectors.
type Section = (&'static str, Vec<Value>);

fn sections(fixture: &Fixture) -> Vec<Section> {
    vec![
        ("keys", pieces::keys(fixture)),
        ("sealed", pieces::sealed()),
        ("padded_lengths", pieces::padded_lengths()),
        ("padded_records", pieces::padded_records()),
        ("records", records::vectors(fixture)),
        ("key_files", pieces::key_files(fixture)),
        ("cut_points", pieces::cut_points()),
        ("chunk_ids", pieces::chunk_ids(fixture)),
        ("packs", packs::packs(fixture)),
        ("index", packs::index(fixture)),
        ("entries", objects::entries(fixture)),
        ("repositories", objects::repositories(fixture)),
        ("slots", objects::slots(fixture)),
        ("periods", objects::periods(fixture)),
        ("refused", refusals::refused(fixture)),
    ]
}

/// One vector a line, so that a change can be read.
fn render(sections: &[Section]) -> String {
    let mut text = "{\n\"format\": 1".to_owned();
    for (name, vectors) in sections {
        let lines: Vec<String> = vectors.iter().map(|vector| format!("  {vector}")).collect();
        text += &format!(",\n\"{name}\": [\n{}\n]", lines.join(",\n"));
    }
    text + "\n}\n"
}

#[test]
fn vectors_equal_the_committed_file() {
    let made = render(&sections(Fixture::get()));
    if std::env::var_os("HOLDFAST_GOLDEN_WRITE").is_some_and(|value| value == "1") {
        std::fs::write(path(), &made).unwrap();
    }
    let committed = std::fs::read_to_string(path()).unwrap();
    let different = made.lines().zip(committed.lines()).position(|(made, committed)| made != committed);
    assert!(
        made == committed,
        "line {:?} differs: the format is frozen, and only another version of zstd is a reason to write the file anew",
        different.map(|line| line + 1)
    );
}
