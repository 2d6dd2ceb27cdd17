//! A set-up as it should be: a user and a role of the daemon's own, who may what it needs, and all in place.

use std::process::Command;

use amqprs::{
    FieldTable,
    channel::{
        ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments, QueueUnbindArguments,
    },
};
use anyhow::{Context as _, Result, ensure};

use crate::support::{Bed, Daemon, Scene};

/// Where that broker's management interface is.
pub fn management(bed: &Bed) -> Result<String> {
    let port = bed.rabbitmq.management_port().context("a management port")?;
    Ok(format!("http://guest:guest@127.0.0.1:{port}"))
}

/// Such a set-up, to be broken.
pub struct House {
    pub bed: &'static Bed,
    /// As the daemon.
    pub scene: Scene,
    /// As somebody who may anything.
    pub root: Scene,
    /// The daemon's user and role.
    pub user: String,
}

impl House {
    /// All in place, a daemon has been there.
    pub async fn built() -> Result<House> {
        let bed = Bed::managed().await?;
        let root = Scene::set(bed).await?;
        let user = format!("{}_writer", root.name);
        let amqp = &bed.rabbitmq;
        amqp.ctl(&["add_user", &user, "secret"]).await?;
        let own = format!("^{}\\.", root.name);
        let write = format!("^({}\\.|amq\\.default$)", root.name);
        amqp.ctl(&["set_permissions", "-p", "/", &user, &own, &write, &own]).await?;
        let owner = format!("{}_owner", root.name);
        let roles = format!(
            "create role {owner} login; create role {user} login; alter database {} owner to {owner}",
            root.name
        );
        bed.postgres.sql("postgres", &roles).await?;
        let database =
            |role: &str| bed.postgres.url(&root.name).replace("postgres@", &format!("{role}@"));
        let owned = root.clone().through(None, Some(database(&owner)));
        let migrate = Daemon::spawn(&["migrate"], &owned.environment())?;
        ensure!(migrate.ends().await? == 0, "{:#?}", migrate.log());
        bed.postgres.sql(&root.name, &format!("select audit.grant_writer('{user}')")).await?;
        let url = amqp.amqp_url().replace("guest:guest", &format!("{user}:secret"));
        let scene = root
            .clone()
            .through(Some(url), Some(database(&user)))
            .with("postgres.migrate", "false")
            .with("rabbitmq.management_url", management(bed)?);
        scene.daemon().await?.stops_cleanly().await?;
        Ok(House { bed, scene, root, user })
    }

    /// Its database, as a superuser.
    pub async fn sql(&self, statements: &str) -> Result<String> {
        self.bed.postgres.sql(&self.root.name, statements).await
    }

    /// Types commands for the broker's machine.
    pub async fn types(&self, commands: &[String]) -> Result<()> {
        for command in commands.iter().filter(|command| command.starts_with("rabbitmqctl ")) {
            let words = words(command)?;
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            self.bed.rabbitmq.ctl(&words).await?;
        }
        Ok(())
    }

    /// Types statements into the database, as a superuser.
    pub async fn runs(&self, commands: &[String]) -> Result<()> {
        for command in commands.iter().filter(|command| command.contains(';')) {
            self.sql(command).await?;
        }
        Ok(())
    }

    /// Declares a queue with these arguments, as somebody who may.
    pub async fn declares(&self, queue: &str, arguments: FieldTable) -> Result<()> {
        let (connection, channel) = self.root.client().await?;
        let mut declare = QueueDeclareArguments::durable_client_named(queue);
        declare.arguments(arguments);
        channel.queue_declare(declare).await.with_context(|| format!("declare {queue}"))?;
        connection.close().await?;
        Ok(())
    }

    /// Declares an exchange.
    pub async fn declares_exchange(&self, name: &str, kind: &str) -> Result<()> {
        let (connection, channel) = self.root.client().await?;
        let declare = ExchangeDeclareArguments::new(name, kind).durable(true).finish();
        channel.exchange_declare(declare).await?;
        connection.close().await?;
        Ok(())
    }

    /// Binds a queue.
    pub async fn binds(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let (connection, channel) = self.root.client().await?;
        channel.queue_bind(QueueBindArguments::new(queue, exchange, key)).await?;
        connection.close().await?;
        Ok(())
    }

    /// Takes a binding away.
    pub async fn unbinds(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let (connection, channel) = self.root.client().await?;
        channel.queue_unbind(QueueUnbindArguments::new(queue, exchange, key)).await?;
        connection.close().await?;
        Ok(())
    }

    /// What a check could have changed.
    pub async fn state(&self) -> Result<Vec<String>> {
        let amqp = &self.bed.rabbitmq;
        let mine = |text: String| -> String {
            let mut lines: Vec<_> =
                text.lines().filter(|line| line.contains(&self.root.name)).collect();
            lines.sort_unstable();
            lines.join("\n")
        };
        let rows = "select (select count(*) from audit.partitions), (select count(*) from audit.runs),
                           (select count(*) from audit.access_log), (select count(*) from audit.coverage_changes),
                           (select count(*) from audit.retention_clock), (select count(*) from audit.schema_migrations),
                           (select count(*) from pg_class), (select string_agg(relacl::text, ' ' order by oid) from pg_class)";
        Ok(vec![
            mine(amqp.ctl(&["list_queues", "name", "arguments", "messages"]).await?),
            mine(amqp.ctl(&["list_exchanges", "name", "type"]).await?),
            mine(amqp.ctl(&["list_bindings"]).await?),
            self.sql(rows).await?,
        ])
    }
}

/// The words of a command, as a shell reads them, its name aside.
fn words(command: &str) -> Result<Vec<String>> {
    let (_, arguments) = command.split_once(' ').context("arguments")?;
    let script = format!("printf '%s\\n' {arguments}");
    let output = Command::new("sh").args(["-c", &script]).output()?;
    ensure!(output.status.success(), "{command}: {output:?}");
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Arguments of a queue.
pub fn table(
    arguments: impl IntoIterator<Item = (&'static str, amqprs::FieldValue)>,
) -> Result<FieldTable> {
    let mut table = FieldTable::new();
    for (name, value) in arguments {
        let name = name.try_into().map_err(|_| anyhow::anyhow!("{name} is too long"))?;
        table.insert(name, value);
    }
    Ok(table)
}
