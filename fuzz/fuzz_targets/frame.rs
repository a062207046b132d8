//! Fuzzes the decoder `frame` of `backup_core::fuzzing`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| backup_core::fuzzing::decode_any("frame", bytes));
