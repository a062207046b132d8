//! `ls`, `find`, `dump` and what stands around them: names, patterns, pipes.

use std::process::Stdio;

use crate::world::{Run, World};

#[test]
fn control_characters_never_reach_the_terminal() {
    let world = World::new();
    world.write("src/re\x1b[31md\n", b"x");
    let backup = world.repo(["backup", "src", "--tag", "\x1b[2J", "-v"]).expect(0);
    let runs = [
        backup,
        world.repo(["ls", "latest"]).expect(0),
        world.repo(["find", "re*"]).expect(0),
        world.repo(["snapshots"]).expect(0),
        world.repo(["cat", "latest"]).expect(0),
        world.repo(["ls", "latest:/\x1b[31m"]).expect(2),
        world.repo(["backup", "missing\x1b[31m"]).expect(1),
    ];
    for run in runs {
        assert!(!run.stdout.contains('\x1b') && !run.stderr.contains('\x1b'), "{}{}", run.stdout, run.stderr);
    }
    assert!(world.repo(["find", "re*"]).stdout.ends_with("/re\\x1b[31md\\x0a\n"));
}

#[test]
fn ls_looks_like_ls() {
    let world = World::with_snapshot();
    let listed = world.repo(["ls", &format!("latest:{}", world.text("src/sub"))]).expect(0).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 2, "{listed}");
    assert!(lines[0].starts_with('d') && lines[0].ends_with("/src/sub"), "{listed}");
    assert!(lines[1].starts_with("-rw") && lines[1].contains(" 5000 "), "{listed}");
}

#[test]
fn patterns_fit_names_or_whole_paths() {
    let world = World::with_snapshot();
    let found = |pattern: &str| world.repo(["find", pattern]).expect(0).stdout.lines().count();
    assert_eq!(found("*.txt"), 2);
    assert_eq!(found("**/sub/*"), 1);
    assert_eq!(found(&world.text("src/*.txt")), 1);
    assert_eq!(found("nothing"), 0);
}

#[test]
fn a_snapshot_is_named_by_prefix_latest_or_time() {
    let world = World::new();
    world.repo(["backup", "src", "--time", "2025-01-05T14:30:00Z"]).expect(0);
    world.backup().expect(0);
    let all = world.repo(["--json", "snapshots"]).expect(0).json("snapshots");
    let id = all["snapshots"][0]["id"].as_str().unwrap();
    world.repo(["ls", &id[..16]]).expect(0);
    world.repo(["ls", "@2025-01-05T14:30:00Z"]).expect(0);
    world.repo(["ls", &format!("@2025-06-01T00:00:00Z:{}", world.text("src"))]).expect(0);
    world.repo(["ls", "@2025-01-05T14:29:59Z"]).expect(2);
    world.repo(["ls", "@soon"]).expect(2);
    world.repo(["diff", "@2025-01-05T14:30:00Z", "latest"]).expect(0);
}

#[test]
fn dump_writes_files_as_they_are_and_directories_as_tar() {
    let world = World::with_snapshot();
    assert_eq!(world.repo(["dump", &format!("latest:{}", world.text("src/a.txt"))]).expect(0).bytes, b"hello");
    let tar = world.repo(["dump", &format!("latest:{}", world.text("src"))]).expect(0).bytes;
    assert_eq!((tar.len() % 512, &tar[257..262]), (0, &b"ustar"[..]));
    world.repo(["dump", "latest"]).expect(2);
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let world = World::new();
    for i in 0..2000 {
        world.write(&format!("src/many/a-name-that-is-long-enough-to-fill-a-pipe-{i}"), b"");
    }
    world.write("src/large", &vec![b'x'; 1 << 20]);
    world.backup().expect(0);
    let large = format!("latest:{}", world.text("src/large"));
    for arguments in [vec!["ls", "latest"], vec!["find", "*"], vec!["--json", "ls", "latest"], vec!["dump", &large]] {
        let mut child =
            world.repo_command().args(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let run = Run::of(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(run.stderr, "", "{arguments:?}");
    }
}

#[test]
fn a_full_output_is_a_failure() {
    let world = World::with_snapshot();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    Run::of(world.repo_command().args(["ls", "latest"]).stdout(full).output().unwrap()).expect(1);
}

#[test]
fn help_version_completions_and_man_pages_are_there() {
    let world = World::bare();
    assert!(world.run(["--version"]).expect(0).stdout.starts_with("holdfast "));
    assert!(world.run(["--version", "-v"]).expect(0).stdout.contains("pages read by sqlite_dbpage"));
    assert!(world.run(["--help"]).expect(0).stdout.contains("Exit codes"));
    world.run(["help", "restore"]).expect(0);
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(["completions", shell]).expect(0).stdout.contains("holdfast"));
    }
    world.run(["man", "pages"]).expect(0);
    assert!(world.path("pages/holdfast.1").exists() && world.path("pages/holdfast-restore.1").exists());
}

#[test]
fn quiet_says_nothing() {
    let world = World::new();
    let run = world.repo(["-q", "backup", "src"]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
}
