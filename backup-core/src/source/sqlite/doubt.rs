//! What makes it necessary to read all of a database that is followed.

/// Why changes of a database could not be told from its log alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Doubt {
    /// It was not followed before.
    Start,
    /// It is written without a log, or was while nobody looked.
    NoLog,
    /// Its log began anew before all of it was read.
    LogReset,
    /// Its log was removed or emptied, and the main file changed.
    LogGone,
    /// Another file took its place.
    Replaced,
    /// It had just been written when the whole of it was read.
    Unsettled,
    /// The last snapshot does not hold what would have to be the same.
    Parent,
    /// It cannot be read page by page where it lies.
    Reading,
}

impl Doubt {
    /// One clause for people.
    pub fn message(self) -> &'static str {
        match self {
            Doubt::Start => "it was not followed before",
            Doubt::NoLog => "it was written without a log",
            Doubt::LogReset => "its log began anew before all of it was read",
            Doubt::LogGone => "its log was removed and the main file changed",
            Doubt::Replaced => "another file took its place",
            Doubt::Unsettled => "it had just been written when all of it was read",
            Doubt::Parent => "the last snapshot does not hold it",
            Doubt::Reading => "it cannot be read page by page where it lies",
        }
    }
}
