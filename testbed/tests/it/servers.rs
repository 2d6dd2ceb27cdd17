//! Servers of our own: several at once, killed, paused, and started again on what they had.

use std::time::Duration;

use amqprs::BasicProperties;
use amqprs::channel::{BasicGetArguments, BasicPublishArguments, Channel, QueueDeclareArguments};
use amqprs::connection::{Connection, OpenConnectionArguments};
use sqlx::{Connection as _, PgConnection};
use testbed::{Postgres, PostgresOptions, RabbitMq, RabbitMqOptions, eventually};
use tokio::net::TcpStream;

use crate::traces;

async fn channel(rabbitmq: &RabbitMq) -> (Connection, Channel) {
    let arguments = OpenConnectionArguments::new("127.0.0.1", rabbitmq.port(), "guest", "guest");
    let connection = Connection::open(&arguments).await.unwrap();
    let channel = connection.open_channel(None).await.unwrap();
    (connection, channel)
}

#[tokio::test]
async fn two_of_each_run_at_once_and_vanish_when_dropped() {
    let (one, two, three, four) = tokio::try_join!(
        RabbitMq::start(RabbitMqOptions::default()),
        RabbitMq::start(RabbitMqOptions::default().management().conf("consumer_timeout = 20000")),
        Postgres::start(PostgresOptions::default()),
        Postgres::start(
            PostgresOptions::default().password("secret").setting("max_connections", "17")
        ),
    )
    .unwrap();

    one.ctl(&["add_vhost", "first"]).await.unwrap();
    assert!(one.ctl(&["list_vhosts"]).await.unwrap().contains("first"));
    assert!(!two.ctl(&["list_vhosts"]).await.unwrap().contains("first"));
    let timeout =
        two.ctl(&["eval", "application:get_env(rabbit, consumer_timeout)."]).await.unwrap();
    assert_eq!(timeout.trim(), "{ok,20000}");
    assert!(one.ctl(&["no_such_command"]).await.is_err());

    assert!(one.management_port().is_none());
    let management = two.management_port().unwrap();
    TcpStream::connect(("127.0.0.1", management)).await.unwrap();

    let url = three.create_database("history").await.unwrap();
    PgConnection::connect(&url).await.unwrap().close().await.unwrap();
    assert_eq!(three.sql("history", "show fsync").await.unwrap(), "on");
    assert_eq!(three.sql("history", "show synchronous_commit").await.unwrap(), "on");
    assert_eq!(four.sql("postgres", "show max_connections").await.unwrap(), "17");
    PgConnection::connect(&four.admin_url()).await.unwrap().close().await.unwrap();
    let wrong = four.admin_url().replace("secret", "wrong");
    assert!(PgConnection::connect(&wrong).await.unwrap_err().to_string().contains("password"));

    let directories = [one.directory(), two.directory(), three.directory(), four.directory()]
        .map(ToOwned::to_owned);
    drop((one, two, three, four));
    for directory in directories {
        assert!(!directory.exists());
        assert_eq!(traces::count(&directory), 0);
    }
}

#[tokio::test]
async fn a_killed_rabbitmq_keeps_a_persistent_message() {
    let rabbitmq = RabbitMq::start(RabbitMqOptions::default()).await.unwrap();
    let port = rabbitmq.port();
    let (_connection, publisher) = channel(&rabbitmq).await;
    publisher.queue_declare(QueueDeclareArguments::durable_client_named("kept")).await.unwrap();
    // RabbitMQ saves a little later that there is a queue; killed before that, it knows of none.
    rabbitmq.ctl(&["eval", "mnesia:sync_log()."]).await.unwrap();
    publisher.tx_select().await.unwrap();
    let persistent = BasicProperties::default().with_persistence(true).finish();
    publisher
        .basic_publish(persistent, b"still here".to_vec(), BasicPublishArguments::new("", "kept"))
        .await
        .unwrap();
    publisher.tx_commit().await.unwrap();

    rabbitmq.kill();
    assert!(!rabbitmq.is_running());
    assert!(rabbitmq.ctl(&["status"]).await.is_err());
    rabbitmq.start_again().await.unwrap();

    assert_eq!(rabbitmq.port(), port);
    // It answers before its queues do; asked too early it closes the channel.
    let get = async || {
        let (_connection, consumer) = channel(&rabbitmq).await;
        let got = consumer.basic_get(BasicGetArguments::new("kept")).await;
        got.map_err(|error| error.to_string())?.ok_or_else(|| "the queue is empty".to_owned())
    };
    let (_, _, body) = eventually("the message comes", Duration::from_secs(30), get).await.unwrap();
    assert_eq!(body, b"still here");

    rabbitmq.pause().unwrap();
    assert!(rabbitmq.is_running());
    assert!(rabbitmq.wait_ready(Duration::from_secs(1)).await.is_err());
    rabbitmq.resume();
    rabbitmq.wait_ready(Duration::from_secs(20)).await.unwrap();

    rabbitmq.stop().await.unwrap();
    assert!(!rabbitmq.is_running());
    assert!(
        std::fs::read_to_string(rabbitmq.log_file())
            .unwrap()
            .contains("Successfully stopped RabbitMQ")
    );
}

#[tokio::test]
async fn a_killed_postgres_keeps_a_committed_row() {
    let postgres = Postgres::start(PostgresOptions::default()).await.unwrap();
    let url = postgres.create_database("history").await.unwrap();
    let mut client = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("create table kept (word text); insert into kept values ('still here')")
        .execute(&mut client)
        .await
        .unwrap();

    postgres.kill();
    assert!(!postgres.is_running());
    assert!(sqlx::raw_sql("select 1").execute(&mut client).await.is_err());
    postgres.start_again().await.unwrap();
    assert_eq!(postgres.sql("history", "select word from kept").await.unwrap(), "still here");

    let mut client = PgConnection::connect(&url).await.unwrap();
    postgres.pause().unwrap();
    let answer = sqlx::raw_sql("select 1").execute(&mut client);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), answer).await.is_err(),
        "a paused backend answers"
    );
    postgres.resume();
    postgres.wait_ready(Duration::from_secs(10)).await.unwrap();

    postgres.restart().await.unwrap();
    assert_eq!(postgres.sql("history", "select word from kept").await.unwrap(), "still here");
    let log = std::fs::read_to_string(postgres.log_file()).unwrap();
    assert!(log.contains("database system was not properly shut down"), "the kill was one");
    assert!(log.contains("received fast shutdown request"));
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let refused = Postgres::start(PostgresOptions::default().setting("no_such_setting", "1"))
        .await
        .unwrap_err();
    assert!(format!("{refused:#}").contains("no_such_setting"), "{refused:#}");
    let refused =
        RabbitMq::start(RabbitMqOptions::default().conf("no_such_key = 1")).await.unwrap_err();
    assert!(format!("{refused:#}").contains("no_such_key"), "{refused:#}");
}
