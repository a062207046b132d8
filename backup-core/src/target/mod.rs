//! The user's data on its way out.
