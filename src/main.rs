//! The `ticketwire` program: parses, calls the library, maps to an exit status.

use std::process::ExitCode;

use clap::Parser;
use ticketwire::cli::{self, Cli};

fn main() -> ExitCode {
    cli::exit_status(Cli::try_parse())
}
