//! The `ticketwire` program: parses, calls the library, maps to an exit status.
fn main() {}
