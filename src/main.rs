//! The `ticketwire` program: parses, calls the library, maps to an exit status.

use std::process::ExitCode;

use clap::Parser;
use ticketwire::cli::{self, Cli};

/// Much is allocated in one thread and freed in another, a batch at a time; the system's allocator
/// costs a quarter of the worker's processor time there (docs/performance.md).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    cli::exit_status(Cli::try_parse())
}
