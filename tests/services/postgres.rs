//! A PostgreSQL cluster that listens on a socket in the test's own directory, and nowhere else.

use std::path::PathBuf;
use std::process::Command;

use crate::page::recipe;
use crate::place::Place;
use crate::server::Server;
use crate::world::Run;

/// What the tests need of PostgreSQL.
pub(crate) const PROGRAMS: [&str; 7] =
    ["postgres", "initdb", "psql", "pg_dump", "pg_restore", "pg_basebackup", "createdb"];

pub(crate) struct Postgres<'a> {
    place: &'a Place,
    data: String,
    server: Option<Server>,
}

impl<'a> Postgres<'a> {
    /// Makes a cluster with segments of so many MiB and starts it.
    pub(crate) fn new(place: &'a Place, segment_megabytes: u32, configuration: &str) -> Self {
        let options = format!("--wal-segsize={segment_megabytes} --auth=trust --username=postgres --no-sync");
        place.shell(&format!("initdb {options} --no-locale --encoding=UTF8 data"), &[]).expect(0);
        let mut cluster = Self { place, data: "data".to_owned(), server: None };
        // A crash of the whole machine is not what is tested here.
        cluster.configure(&format!("fsync = off\nlisten_addresses = ''\n{configuration}\n"));
        cluster.start();
        cluster
    }

    /// Makes a cluster that archives as the page says.
    pub(crate) fn archiving(place: &'a Place, segment_megabytes: u32) -> Self {
        Self::new(place, segment_megabytes, &recipe("pg-archive"))
    }

    /// A cluster whose data directory is there already, not yet started.
    pub(crate) fn existing(place: &'a Place, data: &str) -> Self {
        Self { place, data: data.to_owned(), server: None }
    }

    /// Adds lines to its configuration, which count from the next start on.
    pub(crate) fn configure(&self, lines: &str) {
        let script = format!("cat >>{}/postgresql.conf <<'LINES'\n{lines}\nLINES", self.data);
        self.place.shell(&script, &[]).expect(0);
    }

    /// Takes lines out that a recovery put into its automatic configuration, which outranks the other.
    pub(crate) fn forget(&self, setting: &str) {
        self.place.shell(&format!("sed -i '/{setting}/d' {}/postgresql.auto.conf", self.data), &[]).expect(0);
    }

    /// Starts it, and waits until it takes what changes data: until a recovery is over.
    pub(crate) fn start(&mut self) {
        let answers = || self.try_sql("select pg_is_in_recovery()").stdout == "f\n";
        let log = self.place.path(&format!("home/{}.log", self.data));
        self.server = Some(Server::start(self.command(), "QUIT", &log, answers));
    }

    /// Starts it, waits until it ends by itself, and returns what it wrote.
    pub(crate) fn start_in_vain(&mut self) -> String {
        let log = self.place.path(&format!("home/{}.log", self.data));
        let mut server = Server::start(self.command(), "QUIT", &log, || true);
        crate::place::wait_until("the server gives up", || server.has_ended());
        server.log()
    }

    fn command(&self) -> Command {
        let mut command = self.place.command("postgres");
        command.args(["-D", &self.data, "-k"]).arg(self.place.path(""));
        command
    }

    /// Stops it at once, as a crash does.
    pub(crate) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    fn try_sql(&self, statement: &str) -> Run {
        self.place.shell("psql -XAtq -v ON_ERROR_STOP=1 -c \"$STATEMENT\"", &[("STATEMENT", statement)])
    }

    /// What a statement answers, without the newline at its end.
    #[track_caller]
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.try_sql(statement).expect(0).stdout.trim_end().to_owned()
    }

    /// A file or directory of the cluster's.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.place.path(&format!("home/{}/{below}", self.data))
    }

    /// Ends the segment that is being written, and returns its name.
    pub(crate) fn switch(&self) -> String {
        self.sql("select pg_walfile_name(pg_switch_wal())")
    }

    /// Whether a segment was handed to the archive, and the archive took it.
    pub(crate) fn has_archived(&self, segment: &str) -> bool {
        self.sql(&format!("select coalesce(last_archived_wal, '') >= '{segment}' from pg_stat_archiver")) == "t"
    }
}
