//! `ticketwire completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Failed, output};

/// Completions for a shell, on stdout.
#[derive(Args)]
#[command(after_help = "Examples:
  ticketwire completions bash > ~/.local/share/bash-completion/completions/ticketwire
  ticketwire completions zsh > \"${fpath[1]}/_ticketwire\"
  ticketwire completions fish > ~/.config/fish/completions/ticketwire.fish")]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn execute(&self) -> Result<(), Failed> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "ticketwire", &mut script);
        let script = String::from_utf8_lossy(&script);
        Ok(output::line(script.trim_end())?)
    }
}
