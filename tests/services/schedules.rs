//! Schedules: systemd, cron and Kubernetes. None of them runs here; what they would run does, and what they would read is read.

use std::process::Command;

use serde_json::Value;

use crate::page::recipe;
use crate::place::Place;
use crate::world::{Run, skip};

/// A place with files to back up, one of which cannot be read by whoever runs the backup: so every backup ends with 3.
fn place_with_warning(programs: &[&str]) -> Option<Place> {
    let place = Place::with(programs)?;
    place.shell("mkdir data && echo a >data/a", &[]).expect(0);
    let environment = recipe("environment")
        .replace("/srv/backup", &place.text("repo"))
        .replace("/etc/holdfast", &place.text("home"))
        .replace("\"/etc /home\"", &format!("\"{} {}\"", place.text("home/data"), place.text("home/missing")));
    place.write("etc/environment", environment);
    Some(place)
}

/// Puts the places of a test where the page has those of a machine.
fn placed(text: &str, place: &Place) -> String {
    text.replace("/usr/local/bin/holdfast", &place.text("bin/holdfast")).replace("/etc/holdfast", &place.text("etc"))
}

/// Runs a script with nothing of the page's environment set: it must bring its own.
fn run_bare(place: &Place, script: &str, environment: &[(&str, &str)]) -> Run {
    let mut command = place.command("sh");
    command.args(["-c", script]).env_remove("HOLDFAST_REPO").env_remove("HOLDFAST_KEY_FILE");
    Run::of(command.envs(environment.iter().copied()).output().unwrap())
}

#[test]
fn systemd_takes_the_units_and_their_command_works() {
    let Some(place) = place_with_warning(&[]) else { return };
    let service = placed(&recipe("systemd-service"), &place);
    place.write("etc/holdfast-backup.service", &service);
    place.write("etc/holdfast-backup.timer", recipe("systemd-timer"));
    // systemd splits an unbraced variable at blanks, and takes values from the file: a shell does the same.
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let script = format!("set -a; . {}; {start}", place.text("etc/environment"));
    let environment = [("STATE_DIRECTORY", &*place.text("home/state")), ("CACHE_DIRECTORY", &place.text("home/cache"))];
    let run = run_bare(&place, &script, &environment).expect(3);
    assert!(run.stderr.contains("missing"), "{}", run.stderr);
    assert!(service.lines().any(|line| line == "SuccessExitStatus=3"));
    assert!(place.path("home/state").exists() && place.count_snapshots("--tag systemd") == 1);
    let units = ["holdfast-backup.service", "holdfast-backup.timer"].map(|name| place.path(&format!("etc/{name}")));
    match Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && !said.contains("holdfast-backup"), "{said}");
        }
        Err(_) => skip("systemd-analyze is not installed"),
    }
}

#[test]
fn a_line_of_cron_takes_warnings_for_done_and_failures_for_failures() {
    let Some(place) = place_with_warning(&[]) else { return };
    let line = placed(&recipe("cron"), &place);
    let fields: Vec<&str> = line.trim_end().splitn(7, ' ').collect();
    assert_eq!((fields[..6].join(" ").as_str(), fields.len()), ("17 * * * * root", 7));
    // Cron takes an unescaped percent sign for the end of the line.
    assert!(!line.contains('%') && line.lines().count() == 1);
    let run = run_bare(&place, fields[6], &[]).expect(0);
    assert!(run.stdout.is_empty() && run.stderr.contains("missing"), "{}{}", run.stdout, run.stderr);
    assert_eq!(place.count_snapshots("--tag cron"), 1);
    place.shell("mv ../repo ../away", &[]).expect(0);
    run_bare(&place, fields[6], &[]).expect(1);
}

/// The documents of a YAML stream.
fn parse_yaml(text: &str) -> Option<Vec<Value>> {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.argv[1]))))";
    let output = Command::new("python3").args(["-c", script, text]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("ModuleNotFoundError") {
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).expect(&said))
}

#[test]
fn the_pod_of_kubernetes_has_what_its_command_needs() {
    let Some(place) = place_with_warning(&[]) else { return };
    let Some(documents) = parse_yaml(&recipe("kubernetes")) else {
        return skip("Python's yaml is not installed");
    };
    let [claim, job] = &documents[..] else { panic!("{documents:?}") };
    assert_eq!((&claim["kind"], &job["kind"]), (&"PersistentVolumeClaim".into(), &"CronJob".into()));
    let pod = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let names = |list: &Value, field: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&container["volumeMounts"], "name"), names(&pod["volumes"], "name"));
    assert_eq!(pod["volumes"][1]["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"]);
    assert!(pod["hostname"].is_string());
    // Every path that the command is given lies in a volume.
    let mounts = names(&container["volumeMounts"], "mountPath");
    let values: Vec<(String, String)> =
        names(&container["env"], "name").into_iter().zip(names(&container["env"], "value")).collect();
    for (name, value) in values.iter().filter(|(_, value)| value.starts_with('/')) {
        assert!(mounts.iter().any(|mount| value.starts_with(mount.as_str())), "{name}={value}");
    }
    assert_eq!(container["command"], serde_json::json!(["/bin/sh", "-c"]));
    let script = container["args"][0].as_str().unwrap();
    let paths = format!("{} {}", place.text("home/data"), place.text("home/missing"));
    let here = |name: &str| match name {
        "HOME" => place.text("home"),
        "HOLDFAST_REPO" => place.text("repo"),
        "HOLDFAST_KEY_FILE" => place.text("home/key"),
        "BACKUP_PATHS" => paths.clone(),
        _ => panic!("{name} means nothing here"),
    };
    let environment: Vec<(&str, String)> = values.iter().map(|(name, _)| (name.as_str(), here(name))).collect();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let run = run_bare(&place, script, &environment).expect(0);
    assert!(run.stderr.contains("missing"), "{}", run.stderr);
    assert_eq!(place.count_snapshots("--tag kubernetes"), 1);
    place.shell("mv ../repo ../away", &[]).expect(0);
    run_bare(&place, script, &environment).expect(7);
}
