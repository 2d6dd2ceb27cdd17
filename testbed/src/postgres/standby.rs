//! A standby that follows another server.

use anyhow::{Context, Result};

use super::installation::Installation;
use super::tools::run;
use super::{Postgres, PostgresOptions, Seat};
use crate::Port;
use crate::directory::Directory;

impl Postgres {
    /// Starts a standby that follows this server by streaming, under this `application_name`, and returns once it answers.
    /// It has a port and a directory of its own.
    ///
    /// ```no_run
    /// # use testbed::{Postgres, PostgresOptions};
    /// # async fn example() -> anyhow::Result<()> {
    /// let primary = Postgres::start(PostgresOptions::default()).await?;
    /// let standby = primary.standby("second").await?;
    /// primary.kill();
    /// standby.promote().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When this server does not let itself be copied, or the standby is not ready in time.
    pub async fn standby(&self, name: &str) -> Result<Postgres> {
        let installation = Installation::find()?;
        let directory = Directory::create("postgres", self.options.keep)?;
        let port = Port::free()?;
        let standby = Postgres {
            seat: Seat::new(format!("PostgreSQL standby on port {}", port.number())),
            directory,
            installation,
            port,
            options: PostgresOptions::clone(&self.options),
        };
        standby.installation.give(standby.directory.path())?;
        let socket = self.socket_dir().display().to_string();
        let source =
            format!("host={socket} port={} user=postgres application_name={name}", self.port());
        let mut copy = standby.command("pg_basebackup");
        copy.arg("-D").arg(standby.data_dir()).arg("-d").arg(source);
        copy.args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        standby.installation.run_as_server(&mut copy);
        run(copy, self.options.start_within).await.context("copy a PostgreSQL cluster")?;
        let conf = standby.data_dir().join("postgresql.conf");
        let mut text =
            std::fs::read_to_string(&conf).with_context(|| format!("read {}", conf.display()))?;
        let own = standby.socket_dir().display().to_string();
        text.push_str(&self.options.conf_file(standby.port(), &own));
        standby.directory.write("data/postgresql.conf", text)?;
        standby.start_again().await?;
        Ok(standby)
    }

    /// Makes a standby the primary, and returns once it is.
    ///
    /// # Errors
    /// When it is none, or does not become one within a minute.
    pub async fn promote(&self) -> Result<()> {
        let promoted = self.sql("postgres", "select pg_promote()").await?;
        anyhow::ensure!(promoted == "t", "the standby is not promoted: {promoted}");
        Ok(())
    }
}
