//! PostgreSQL's own tools, run against a private server.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Postgres;

/// How long one statement of [`Postgres::sql`] may take.
const SQL_LIMIT: Duration = Duration::from_secs(60);

impl Postgres {
    pub(super) async fn create_cluster(&self) -> Result<()> {
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(self.data_dir());
        // The cluster itself need not survive a crash of the machine; what is committed to it is synced.
        initdb.args([
            "--no-sync",
            "--username=postgres",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=trust",
        ]);
        if let Some(password) = &self.options.password {
            let file = self.directory.write("password", password)?;
            self.installation.give(&file)?;
            initdb.arg("--pwfile").arg(file);
        }
        self.installation.give(self.directory.path())?;
        self.installation.run_as_server(&mut initdb);
        run(initdb, self.options.start_within).await.context("create a PostgreSQL cluster")?;
        let conf = self.data_dir().join("postgresql.conf");
        let settings =
            self.options.conf_file(self.port(), &self.socket_dir().display().to_string());
        let mut text =
            std::fs::read_to_string(&conf).with_context(|| format!("read {}", conf.display()))?;
        text.push_str(&settings);
        self.directory.write("data/postgresql.conf", text)?;
        self.directory.write("data/pg_hba.conf", self.options.hba_file())?;
        Ok(())
    }

    /// Makes a file that the server alone can read, such as a private key, and tells where it is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn private_file(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.directory.write(name, text)?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        self.installation.give(&path)?;
        Ok(path)
    }

    /// Creates an empty database and returns its URL.
    ///
    /// # Errors
    /// When the server does not, with what it said.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        self.sql("postgres", &format!("create database \"{}\"", name.replace('"', "\"\""))).await?;
        Ok(self.url(name))
    }

    /// Runs SQL as superuser through `psql` and returns what it printed, unaligned and without headings.
    ///
    /// # Errors
    /// When a statement fails, with what the server said, or takes longer than 60 s.
    pub async fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut psql = self.command("psql");
        psql.args([
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-c",
            statements,
        ]);
        psql.arg("-h").arg(self.socket_dir()).arg("-p").arg(self.port().to_string());
        run(psql, SQL_LIMIT).await.with_context(|| format!("in database {database}: {statements}"))
    }

    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = self.directory.command(self.installation.program(program));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| {
                name.starts_with("PG") || name.starts_with("LC_") || name == "NOTIFY_SOCKET"
            }) {
                command.env_remove(name);
            }
        }
        command.env("LANG", "C.UTF-8");
        command
    }
}

/// Runs a tool to its end and returns what it printed.
pub(super) async fn run(mut command: Command, limit: Duration) -> Result<String> {
    command.stdin(Stdio::null());
    let program = command.get_program().display().to_string();
    let output = tokio::time::timeout(
        limit,
        tokio::process::Command::from(command).kill_on_drop(true).output(),
    )
    .await
    .with_context(|| format!("{program} did not return within {limit:?}"))?
    .with_context(|| format!("run {program}"))?;
    if !output.status.success() {
        bail!(
            "{program}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
