//! Cargo itself, as the chores call it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode, ExitStatus};

/// The repository's root.
pub fn root() -> PathBuf {
    let member = std::env::var_os("CARGO_MANIFEST_DIR")
        .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
    let mut root = PathBuf::from(member);
    root.pop();
    root
}

/// Cargo, at the repository's root.
pub fn command() -> Command {
    let mut command = Command::new(program());
    at_root(&mut command);
    command
}

/// The cargo that runs us, so that its children use the same toolchain.
pub fn program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// Makes a command of [`program`] run at the repository's root, as from a shell.
pub fn at_root(command: &mut Command) {
    command.current_dir(root());
    // What cargo tells us about ourselves; build scripts that watch it would rebuild half of everything.
    for (name, _) in std::env::vars_os() {
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if name.to_str().is_some_and(|name| ours.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(name);
        }
    }
}

/// A child's exit status as our own; a child that a signal killed counts as failed.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
