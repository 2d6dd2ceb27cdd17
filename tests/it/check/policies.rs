//! Broken by policies, which win over what the daemon declares, and mended by what the check says.

use anyhow::Result;

use super::{Checked, House};

/// Sets a policy, expects that it is named, types what is advised, and expects that all is well.
async fn is_named_and_mended(
    house: &House,
    policy: (&str, &str, &str),
    check: &str,
    said: &str,
) -> Result<()> {
    let (command, queue, definition) = policy;
    let name = format!("{} {definition}", house.root.name);
    let pattern = format!("^{}$", queue.replace('.', "\\."));
    let set = [command, "-p", "/", "--apply-to", "queues", &name, &pattern, definition];
    house.bed.rabbitmq.ctl(&set).await?;
    let thing = ("rabbitmq", check);
    let checked = named(house, check).await?;
    let undo = if command == "set_policy" { "set_policy" } else { "clear_operator_policy" };
    let commands = checked.finds(thing, "fault", said, undo);
    house.types(&commands).await?;
    testbed::eventually("the policy applies no more", crate::support::PATIENCE, async || {
        let checked = Checked::of(&house.scene).map_err(|error| format!("{error:#}"))?;
        if checked.bad().is_empty() { Ok(()) } else { Err(format!("{:#?}", checked.bad())) }
    })
    .await?;
    // For the next one.
    let clear = "clear_policy";
    if command == "set_policy" {
        house.bed.rabbitmq.ctl(&[clear, "-p", "/", &name]).await?;
        house.bed.rabbitmq.ctl(&[clear, "-p", "/", &format!("audit-{queue}")]).await?;
    }
    Ok(())
}

/// The check that names it: a policy applies a moment after it was set.
async fn named(house: &House, check: &str) -> Result<Checked> {
    let found = std::cell::RefCell::new(None);
    testbed::eventually("the policy applies", crate::support::PATIENCE, async || {
        let checked = Checked::of(&house.scene).map_err(|error| format!("{error:#}"))?;
        let all = checked.all("rabbitmq", check);
        if all.iter().any(|one| one["verdict"] == "fault") {
            *found.borrow_mut() = Some(checked);
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await?;
    found.into_inner().ok_or_else(|| anyhow::anyhow!("nothing"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_limits_a_queue_is_named_and_kept_from_it() -> Result<()> {
    let house = House::built().await?;
    let (queue, letters) = (house.scene.queue(), house.scene.dead_letter_queue());
    for (set, queue, definition, check, said) in [
        (
            "set_policy",
            &queue,
            r#"{"max-length":1000}"#,
            "queue limits",
            "then refuses what is published",
        ),
        ("set_policy", &queue, r#"{"expires":3600000}"#, "queue limits", "expires of the policy"),
        (
            "set_policy",
            &queue,
            r#"{"delivery-limit":3}"#,
            "delivery limit",
            "is 3, and the daemon goes by",
        ),
        (
            "set_policy",
            &letters,
            r#"{"max-length":5}"#,
            "dead-letter queue limits",
            "drops the oldest",
        ),
        (
            "set_operator_policy",
            &queue,
            r#"{"max-length":77}"#,
            "queue limits",
            "of the operator's policy",
        ),
    ] {
        is_named_and_mended(&house, (set, queue, definition), check, said).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_foreseen_before_the_queue_is_there() -> Result<()> {
    let house = House::built().await?;
    let queue = format!("{}.later", house.root.name);
    let pattern = format!("^{}\\.later", house.root.name);
    let policy = format!("{} ttl", house.root.name);
    let ttl = r#"{"message-ttl":1000,"delivery-limit":2}"#;
    house
        .bed
        .rabbitmq
        .ctl(&["set_policy", "-p", "/", "--apply-to", "queues", &policy, &pattern, ttl])
        .await?;
    let scene = house.scene.clone().with("rabbitmq.queue", &queue);
    let checked = Checked::of(&scene)?;
    checked.is_well("rabbitmq", "queue");
    let commands =
        checked.finds(("rabbitmq", "queue limits"), "fault", "message-ttl", "set_policy");
    checked.finds(("rabbitmq", "delivery limit"), "fault", "is 2", "set_policy");
    house.types(&commands).await?;
    assert_eq!(Checked::of(&scene)?.bad(), Vec::<&serde_json::Value>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gets_its_dead_letter_exchange_by_the_policy_that_is_advised() -> Result<()> {
    let house = House::built().await?;
    let queue = format!("{}.bare", house.root.name);
    let limit = amqprs::FieldValue::l(20);
    let arguments = [("x-queue-type", "quorum".into()), ("x-delivery-limit", limit)];
    house.declares(&queue, super::house::table(arguments)?).await?;
    house.binds(&queue, &house.scene.exchange(), "#").await?;
    let scene =
        house.scene.clone().with("rabbitmq.queue", &queue).with("rabbitmq.declare", "verify");
    let dead_lettering = ("rabbitmq", "dead-lettering");
    let commands = Checked::of(&scene)?.finds(dead_lettering, "fault", "is gone", "set_policy");
    house.types(&commands).await?;
    testbed::eventually("the policy applies", crate::support::PATIENCE, async || {
        let checked = Checked::of(&scene).map_err(|error| format!("{error:#}"))?;
        if checked.bad().is_empty() { Ok(()) } else { Err(format!("{:#?}", checked.bad())) }
    })
    .await
}
