//! Broken on the broker: users, permissions, exchanges, queues, bindings.

use amqprs::{FieldValue, channel::BasicConsumeArguments};
use anyhow::Result;

use super::{
    Checked, House,
    house::{management, table},
};
use crate::support::{Bed, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_from_a_missing_virtual_host() -> Result<()> {
    let house = House::built().await?;
    let port = house.bed.rabbitmq.port();
    let at = |login: &str, vhost: &str| format!("amqp://{login}@127.0.0.1:{port}/{vhost}");

    let wrong =
        house.scene.clone().through(Some(at(&format!("{}:wrong", house.user), "%2f")), None);
    let checked = Checked::of(&wrong)?;
    let login = ("rabbitmq", "login");
    checked.finds(login, "fault", "ACCESS_REFUSED", &format!("change_password {}", house.user));
    assert_eq!(checked.all("rabbitmq", "queue")[0]["verdict"], "skipped");
    // The other side, and what the management interface tells, are looked at all the same.
    checked.is_well("postgresql", "schema");
    checked.is_well("rabbitmq", "bindings");

    let vhost = format!("{}_vhost", house.root.name);
    let login = format!("{}:secret", house.user);
    let elsewhere = house.scene.clone().through(Some(at(&login, &vhost)), None);
    let (missing, say) = (("rabbitmq", "vhost"), format!("add_vhost {vhost}"));
    let commands = Checked::of(&elsewhere)?.finds(missing, "fault", "not found", &say);
    house.bed.rabbitmq.ctl(&["add_vhost", &vhost]).await?;
    let commands_then =
        Checked::of(&elsewhere)?.finds(missing, "fault", "refused", "set_permissions");
    assert_eq!(commands.last(), commands_then.last());
    house.types(&commands_then).await?;
    Checked::of(&elsewhere)?.is_well("rabbitmq", "vhost");
    // What was typed is enough for the daemon.
    elsewhere.daemon().await?.stops_cleanly().await
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_that_lack_or_are_too_many_are_named_with_what_is_needed() -> Result<()> {
    let house = House::built().await?;
    let amqp = &house.bed.rabbitmq;
    let user = &*house.user;
    let permissions = ("rabbitmq", "permissions");

    amqp.ctl(&["set_permissions", "-p", "/", user, "", "^amq\\.default$", ".*"]).await?;
    let said = format!("may not configure '{}'", house.scene.exchange());
    let commands = Checked::of(&house.scene)?.finds(
        permissions,
        "fault",
        &said,
        "rabbitmqctl set_permissions -p / ",
    );
    house.types(&commands).await?;
    let mended = Checked::of(&house.scene)?;
    assert_eq!((mended.status, mended.bad()), (0, Vec::new()));
    house.scene.daemon().await?.stops_cleanly().await?;

    amqp.ctl(&["set_permissions", "-p", "/", user, ".*", ".*", ".*"]).await?;
    let checked = Checked::of(&house.scene)?;
    let too_many = ("rabbitmq", "privileges");
    let commands = checked.finds(too_many, "warning", "anything on '/'", "set_permissions");
    assert_eq!((checked.status, house.scene.asks(&["check", "--strict"])?.status), (0, 1));
    house.types(&commands).await?;
    Checked::of(&house.scene)?.is_well("rabbitmq", "privileges");

    // Alarms are heard of by whoever may publish nothing.
    amqp.ctl(&["set_permissions", "-p", "/", user, ".*", "^t", ".*"]).await?;
    let checked = Checked::of(&house.scene)?;
    checked.finds(("rabbitmq", "alarms"), "warning", "amq.default", "set_permissions");

    amqp.ctl(&["set_user_tags", user, "administrator"]).await?;
    let commands = Checked::of(&house.scene)?.finds(
        ("rabbitmq", "user"),
        "warning",
        "is administrator",
        &format!("rabbitmqctl set_user_tags {user}"),
    );
    house.types(&commands).await?;
    Checked::of(&house.scene)?.is_well("rabbitmq", "user");

    amqp.ctl(&["clear_permissions", "-p", "/", user]).await?;
    let checked = Checked::of(&house.scene)?;
    checked.finds(permissions, "fault", "has none on '/'", "set_permissions");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_where_the_daemon_only_verifies() -> Result<()> {
    let house = House::built().await?;
    let verifying = house.scene.clone().with("rabbitmq.declare", "verify");
    assert_eq!(Checked::of(&verifying)?.status, 0);
    for (check, key, command) in [
        ("exchange", "rabbitmq.exchange", "declare exchange name=gone.x type=topic durable=true"),
        ("dead-letter exchange", "rabbitmq.dead_letter_exchange", "type=fanout durable=true"),
        ("queue", "rabbitmq.queue", "\"x-delivery-limit\":20"),
        ("dead-letter queue", "rabbitmq.dead_letter_queue", "\"x-queue-type\":\"quorum\""),
    ] {
        let checked = Checked::of(&verifying.clone().with(key, "gone.x"))?;
        checked.finds(("rabbitmq", check), "fault", "'gone.x' is not there", command);
    }

    let (queue, exchange) = (house.scene.queue(), house.scene.exchange());
    house.unbinds(&queue, &exchange, "#").await?;
    let commands = Checked::of(&verifying)?.finds(
        ("rabbitmq", "bindings"),
        "fault",
        "is not bound to",
        "'routing_key=#'",
    );
    assert!(
        commands[0].contains(&format!("source={exchange} destination={queue}")),
        "{commands:?}"
    );
    // Where the daemon may declare, it will.
    let checked = Checked::of(&house.scene)?;
    checked.finds(("rabbitmq", "bindings"), "warning", "until the daemon binds it", "bind it");
    house.binds(&queue, &exchange, "#").await?;
    Checked::of(&verifying)?.is_well("rabbitmq", "bindings");

    house
        .unbinds(&house.scene.dead_letter_queue(), &house.scene.dead_letter_exchange(), "")
        .await?;
    let binding = ("rabbitmq", "dead-letter binding");
    Checked::of(&verifying)?.finds(binding, "fault", "goes nowhere", "declare binding");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn narrow_bindings_and_short_timeouts_are_warned_of() -> Result<()> {
    let house = House::built().await?;
    house.binds(&house.scene.queue(), &house.scene.exchange(), "a.#").await?;
    let narrow = house.scene.clone().with("rabbitmq.bindings", r#"["a.#"]"#);
    let checked = Checked::of(&narrow)?;
    checked.finds(("rabbitmq", "bindings"), "warning", "'a.#' is not recorded", "[\"#\"]");
    assert_eq!(checked.status, 0);

    let short = house.scene.clone().with("rabbitmq.consumer_timeout", "2m");
    let timeout = ("rabbitmq", "consumer timeout");
    Checked::of(&short)?.finds(
        timeout,
        "warning",
        "consumer_timeout is 2m",
        "consumer_timeout = 1800000",
    );
    Checked::of(&house.scene)?.finds(timeout, "unknown", "does not tell", "rabbitmqctl eval");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_and_another_queue_are_named() -> Result<()> {
    let house = House::built().await?;
    let other = format!("{}.fan", house.root.name);
    house.declares_exchange(&other, "fanout").await?;
    let scene = house.scene.clone().with("rabbitmq.exchange", &other);
    let exchange = ("rabbitmq", "exchange type");
    Checked::of(&scene)?.finds(exchange, "fault", "is of type fanout", "delete exchange");

    let plain = format!("{}.plain", house.root.name);
    house.declares(&plain, table([])?).await?;
    let scene = house.scene.clone().with("rabbitmq.queue", &plain);
    let checked = Checked::of(&scene)?;
    let arguments = ("rabbitmq", "queue arguments");
    let delete = format!("delete_queue -p / --if-empty {plain}");
    let commands =
        checked.finds(arguments, "fault", "its type is classic, and not quorum", &delete);
    checked.finds(
        ("rabbitmq", "dead-lettering"),
        "fault",
        "has no dead-letter exchange",
        "set_policy",
    );
    house.types(&commands).await?;
    scene.daemon().await?.stops_cleanly().await?;
    assert_eq!(Checked::of(&scene)?.bad(), Vec::<&serde_json::Value>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_another_service_consumes_from_is_named() -> Result<()> {
    let house = House::built().await?;
    let (connection, channel) = house.root.client().await?;
    let consume = BasicConsumeArguments::new(&house.scene.queue(), "other");
    let (_tag, _deliveries) = channel.basic_consume_rx(consume).await?;
    // The management interface learns of it a moment later.
    testbed::eventually("the other consumer is named", crate::support::PATIENCE, async || {
        let checked = Checked::of(&house.scene).map_err(|error| format!("{error:#}"))?;
        let found = checked.all("rabbitmq", "consumers");
        if found.iter().any(|one| one["verdict"] == "fault") {
            checked.finds(("rabbitmq", "consumers"), "fault", "'guest' consumes", "list_consumers");
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await?;
    connection.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_management_interface_it_says_what_is_unknown() -> Result<()> {
    let bed = Bed::managed().await?;
    let scene = Scene::migrated(bed).await?;
    let checked = Checked::of(&scene)?;
    let interface = ("rabbitmq", "management");
    checked.finds(interface, "unknown", "management_url is not set", "rabbitmq_management");
    let wrong = management(bed)?.replace("guest:guest", "guest:wrong");
    let checked = Checked::of(&scene.clone().with("rabbitmq.management_url", wrong))?;
    checked.finds(interface, "fault", "401 Unauthorized", "set_user_tags guest monitoring");

    // A user who may look at less.
    let looker = format!("{}_looker", scene.name);
    bed.rabbitmq.ctl(&["add_user", &looker, "secret"]).await?;
    bed.rabbitmq.ctl(&["set_user_tags", &looker, "management"]).await?;
    bed.rabbitmq.ctl(&["set_permissions", "-p", "/", &looker, "^$", "^$", ".*"]).await?;
    let url = management(bed)?.replace("guest:guest", &format!("{looker}:secret"));
    let checked = Checked::of(&scene.with("rabbitmq.management_url", url))?;
    checked.is_well("rabbitmq", "management");
    let permissions = ("rabbitmq", "permissions");
    checked.finds(permissions, "unknown", "401", "rabbitmqctl list_user_permissions guest");
    checked.finds(("rabbitmq", "nodes"), "unknown", "401", "rabbitmqctl cluster_status");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_lose_messages_are_named() -> Result<()> {
    let house = House::built().await?;
    let own = house.scene.dead_letter_exchange();
    let with = |name: &'static str, value: FieldValue| {
        let usual = [
            ("x-queue-type", "quorum".into()),
            ("x-dead-letter-exchange", own.as_str().into()),
            ("x-delivery-limit", FieldValue::l(20)),
        ];
        // The broker refuses an argument that comes twice.
        let usual = usual.into_iter().filter(|(usual, _)| *usual != name);
        table(usual.chain([(name, value)]))
    };
    for (name, value, check, said) in [
        ("x-message-ttl", 60_000, "queue limits", "argument x-message-ttl is 60000"),
        ("x-expires", 600_000, "queue limits", "it is deleted, with all in it"),
        ("x-max-length", 10, "queue limits", "drops the oldest (overflow drop-head)"),
        ("x-max-length-bytes", 99, "queue limits", "no more than that many bytes"),
        ("x-delivery-limit", 3, "delivery limit", "about to be given up"),
        ("x-consumer-timeout", 60_000, "consumer timeout", "x-consumer-timeout is 1m"),
    ] {
        let queue = format!("{}.{name}", house.root.name);
        house.declares(&queue, with(name, FieldValue::l(value))?).await?;
        let scene = house.scene.clone().with("rabbitmq.queue", &queue);
        let scene = scene.with("rabbitmq.declare", "verify");
        let checked = Checked::of(&scene)?;
        let advice = if check == "consumer timeout" {
            "rabbitmq.consumer_timeout = \"1m\""
        } else {
            "delete_queue"
        };
        checked.finds(("rabbitmq", check), "fault", said, advice);
    }
    Ok(())
}
