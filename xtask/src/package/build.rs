//! The program to be packaged: built, and without what only a debugger reads.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use super::{NAME, Release, tool};
use crate::cargo;

/// The target whose programs need no library of the machine they run on.
const STATIC: &str = "x86_64-unknown-linux-musl";
/// The compiler for what is not Rust in it: the cryptography of TLS.
const STATIC_CC: &str = "musl-gcc";

/// How the program is built.
pub struct Build<'a> {
    release: &'a Release,
    target: Option<&'static str>,
}

impl<'a> Build<'a> {
    /// For machines like this one, with their C library.
    pub fn of_this_machine(release: &'a Release) -> Self {
        Self { release, target: None }
    }

    /// Linked with everything that it needs.
    ///
    /// # Errors
    /// Where the toolchain for it is not there, with what to install.
    pub fn without_libraries(release: &'a Release) -> Result<Self> {
        let libraries = tool::output(
            "rustc",
            &["--print", "target-libdir", "--target", STATIC],
            &cargo::root(),
        )?;
        if !PathBuf::from(libraries.trim()).is_dir() {
            bail!("the target {STATIC} is not installed: `rustup target add {STATIC}`");
        }
        tool::needed(&[STATIC_CC])?;
        Ok(Self { release, target: Some(STATIC) })
    }

    /// Builds it; where the program is.
    ///
    /// # Errors
    /// When it does not build; what the compiler says is on stderr.
    pub fn run(&self) -> Result<PathBuf> {
        let root = cargo::root();
        let mut command = cargo::command();
        // The tests run on the program that they have built; another choice of packages would be one of features, and build
        // most libraries once more.
        let word =
            if self.release.quick { &["test", "--workspace", "--no-run"][..] } else { &["build"] };
        command.args(word).args(["--locked", "--message-format=json-render-diagnostics"]);
        if self.release.quick {
            // It dates what is packaged; the build of the cryptography watches it, too, and would begin anew.
            command.env_remove("SOURCE_DATE_EPOCH");
        } else {
            // Apart from other builds: paths of this machine are left out of the program, so that it is the same elsewhere.
            let sources = match std::env::var_os("CARGO_HOME") {
                Some(home) => PathBuf::from(home),
                None => std::env::home_dir().context("find the home directory")?.join(".cargo"),
            };
            let remap =
                |from: PathBuf, to: &str| format!("--remap-path-prefix={}={to}", from.display());
            let flags = [
                remap(sources.join("registry/src"), "/cargo"),
                remap(root.clone(), "/bloodbank-audit"),
            ];
            command
                .args(["--release", "--package", NAME, "--bin", NAME])
                .arg("--target-dir")
                .arg(root.join("target/package/build"))
                .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        }
        if let Some(target) = self.target {
            command
                .args(["--target", target])
                .env(format!("CC_{}", target.replace('-', "_")), STATIC_CC);
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("run cargo build")?;
        if !output.status.success() {
            bail!("the program does not build: cargo build ended with {}", output.status);
        }
        let executable = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| message["target"]["name"] == NAME)
            .filter(|message| message["profile"]["test"] == false)
            .find_map(|message| message["executable"].as_str().map(PathBuf::from))
            .context("cargo build does not say where the program is")?;
        self.stripped(&executable)
    }

    /// A copy without what only a debugger reads. The names of functions stay, for backtraces.
    fn stripped(&self, executable: &PathBuf) -> Result<PathBuf> {
        let copy = self.release.out.join(match self.target {
            Some(target) => format!("{NAME}-{target}"),
            None => NAME.to_owned(),
        });
        fs::copy(executable, &copy)
            .with_context(|| format!("copy {} to {}", executable.display(), copy.display()))?;
        tool::output("strip", &["--strip-debug".as_ref(), copy.as_os_str()], &cargo::root())?;
        Ok(copy)
    }
}
