//! Directory trees of the file system.
