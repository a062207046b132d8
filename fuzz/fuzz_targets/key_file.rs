//! Fuzzes the decoder `key_file` of `backup_core::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backup_core::fuzzing::decode_any("key_file", bytes));
