//! Keys that rotate.
