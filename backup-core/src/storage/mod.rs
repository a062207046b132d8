//! Names to objects over `opendal::Operator`.
