//! A database of one measurement, with the daemon's schema and nothing in it unless it is made from another.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

use super::scene::Scene;
use crate::history;

/// Its name, and how to reach it.
pub struct Database {
    pub name: String,
    pub url: String,
}

/// Bytes on disk.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Size {
    /// Rows, in the partitions' own files.
    pub table: i64,
    /// Values too long for a row, with their index.
    pub toast: i64,
    /// The partitions' indexes.
    pub index: i64,
    /// What is kept about batches, indexes included.
    pub batches: i64,
}

impl Database {
    /// Makes it and has the daemon migrate it.
    ///
    /// # Errors
    /// When that fails, with what the daemon said.
    pub async fn migrated(scene: &Scene) -> Result<Self> {
        let database = Self::named(scene, format!("bench_{:08x}", rand::random::<u32>()));
        scene.postgres.create_database(&database.name).await?;
        let mut migrate = tokio::process::Command::new(&scene.binary);
        migrate
            .args(["migrate", "--config", "/dev/null"])
            .env("DATABASE_URL", &database.url)
            .kill_on_drop(true);
        let output = migrate.output().await.context("run the daemon's migrate")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("the daemon's migrate ended with {}: {said}", output.status);
        }
        let mut connection = database.connect().await?;
        for statements in &scene.sql {
            run(&mut connection, statements).await?;
        }
        connection.close().await.context("close a connection")?;
        Ok(database)
    }

    /// Makes it as a copy of another, to which nobody may be connected.
    ///
    /// # Errors
    /// When the server does not.
    pub async fn copy_of(scene: &Scene, template: &Self) -> Result<Self> {
        let database = Self::named(scene, format!("bench_{:08x}", rand::random::<u32>()));
        let mut admin = history::connect(&scene.postgres.admin_url()).await?;
        // Page by page, as the default strategy does, would write all of it to the log.
        let create = format!(
            "create database {} template {} strategy file_copy",
            database.name, template.name
        );
        run(&mut admin, &create).await?;
        Ok(database)
    }

    /// Has the server read the indexes of the present partition, or of all of them, into its memory, as far as they fit: it
    /// would have them there if it had written them, or been asked, just before.
    ///
    /// # Errors
    /// When the server does not.
    pub async fn warm(&self, all: bool) -> Result<()> {
        let mut connection = self.connect().await?;
        let read = format!(
            "create extension if not exists pg_prewarm with schema public;
             select public.pg_prewarm(i.indexrelid)
               from audit.partitions p
               join pg_index i on i.indrelid = format('audit.%I', p.name)::regclass
              where {all} and i.indisunique or p.from_at <= now() and now() < p.to_at"
        );
        run(&mut connection, &read).await?;
        connection.close().await.context("close a connection")
    }

    fn named(scene: &Scene, name: String) -> Self {
        let url = scene.postgres.url(&name);
        Self { name, url }
    }

    /// Connects, as the superuser.
    ///
    /// # Errors
    /// When the server does not let us.
    pub async fn connect(&self) -> Result<PgConnection> {
        history::connect(&self.url).await
    }

    /// Bytes of what it holds of events.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn size(&self, connection: &mut PgConnection) -> Result<Size> {
        let row = sqlx::query(
            "select coalesce(sum(pg_relation_size(c.oid)), 0)::int8,
                    coalesce(sum(case when c.reltoastrelid <> 0 then pg_total_relation_size(c.reltoastrelid) end), 0)::int8,
                    coalesce(sum(pg_indexes_size(c.oid)), 0)::int8,
                    pg_total_relation_size('audit.batches')::int8
               from audit.partitions p join pg_class c on c.oid = format('audit.%I', p.name)::regclass",
        )
        .fetch_one(connection)
        .await
        .context("measure the tables")?;
        Ok(Size {
            table: row.try_get(0)?,
            toast: row.try_get(1)?,
            index: row.try_get(2)?,
            batches: row.try_get(3)?,
        })
    }

    /// Events that it holds, and different ids among them.
    ///
    /// # Errors
    /// When the server fails.
    pub async fn events(&self, connection: &mut PgConnection) -> Result<(i64, i64)> {
        let count = "select count(*), count(distinct event_id) from audit.events";
        sqlx::query_as(count).fetch_one(connection).await.context("count the events")
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When the server does not.
    pub async fn remove(self, scene: &Scene) -> Result<()> {
        let mut admin = history::connect(&scene.postgres.admin_url()).await?;
        run(&mut admin, &format!("drop database {} with (force)", self.name)).await?;
        admin.close().await.context("close a connection")
    }
}

/// A file that the database server can write and read.
pub fn server_file(scene: &Scene, name: &str) -> PathBuf {
    scene.postgres.data_dir().join(name)
}

/// Runs statements without parameters, of our own making.
///
/// # Errors
/// When the server refuses one.
pub async fn run(connection: &mut PgConnection, statements: &str) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await;
    done.map(drop).with_context(|| statements.to_owned())
}
