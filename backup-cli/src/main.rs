//! The `holdfast` command: parses, calls one verb of `backup-core`, renders its report.

fn main() {}
