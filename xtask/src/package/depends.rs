//! Which packages of the distribution the program needs.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{NAME, tool};

/// Beside libraries: what makes the user and the directory, and runs the unit. It need not be running.
const ALWAYS: &str = "systemd";

/// The field `Depends`.
///
/// # Errors
/// When the program cannot be read or dpkg-shlibdeps fails.
pub fn of(program: &Path, scratch: &Path) -> Result<String> {
    let libraries = if tool::is_there("dpkg-shlibdeps") {
        as_debian_says(program, scratch)?
    } else {
        as_the_program_says(&fs::read(program).context("read the program")?)
    };
    Ok(format!("{libraries}, {ALWAYS}"))
}

fn as_debian_says(program: &Path, scratch: &Path) -> Result<String> {
    // It wants to be run beside the sources of a package.
    let directory = scratch.join("shlibdeps");
    fs::create_dir_all(directory.join("debian")).context("make a directory")?;
    let control = format!("Source: {NAME}\n\nPackage: {NAME}\nArchitecture: any\n");
    fs::write(directory.join("debian/control"), control).context("write a control file")?;
    let program = format!("-e{}", program.display());
    let said = tool::output("dpkg-shlibdeps", &["-O", &program], &directory)?;
    fs::remove_dir_all(&directory).context("remove a directory")?;
    let depends = said.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    Ok(depends.context("dpkg-shlibdeps names no library")?.to_owned())
}

/// The C library in the newest version of which the program uses a symbol: those stand in it as `GLIBC_2.34`.
fn as_the_program_says(program: &[u8]) -> String {
    const MARK: &[u8] = b"GLIBC_";
    let versions = program.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let version = versions.filter_map(|(at, _)| {
        let rest = &program[at + MARK.len()..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'.').count();
        let text = std::str::from_utf8(&rest[..length]).ok()?;
        let (major, minor) = text.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    let (major, minor) = version.max().unwrap_or((2, 17));
    format!("libc6 (>= {major}.{minor}), libgcc-s1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_the_c_library_counts() {
        let program = b"\0GLIBC_2.9\0GLIBC_2.34\0GLIBC_2.4.1\0GLIBC_PRIVATE\0GLIBC_";
        assert_eq!(as_the_program_says(program), "libc6 (>= 2.34), libgcc-s1");
    }
}
