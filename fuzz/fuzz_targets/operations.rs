//! Plays verbs against a model, as the input says.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    backup_core::fuzzing::operations::play(bytes).expect("no verb fails on a storage that does not");
});
