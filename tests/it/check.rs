//! `bloodbank-audit check`: a healthy set-up is healthy, and of each broken one it names what is wrong and what to type.

mod bus;
mod database;
mod files;
mod house;
mod policies;
mod ways;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::support::{Answer, Scene, control_characters};
use house::House;

/// What a check found.
#[derive(Debug)]
struct Checked {
    status: i32,
    findings: Vec<Value>,
}

impl Checked {
    fn by(answer: &Answer) -> Result<Checked> {
        let said: Value =
            serde_json::from_slice(&answer.stdout).with_context(|| format!("{answer:?}"))?;
        let findings = said["findings"].as_array().context("findings")?.clone();
        Ok(Checked { status: answer.status, findings })
    }

    fn of(scene: &Scene) -> Result<Checked> {
        Checked::by(&scene.asks(&["check", "--json"])?)
    }

    /// The findings of one thing.
    fn all(&self, area: &str, check: &str) -> Vec<&Value> {
        self.findings.iter().filter(|one| one["area"] == area && one["check"] == check).collect()
    }

    /// Expects that it finds this of that thing, says this of it, and gives this to type or to do; and the commands.
    fn finds(&self, thing: (&str, &str), verdict: &str, said: &str, advice: &str) -> Vec<String> {
        let found = self.all(thing.0, thing.1);
        let fits = |one: &&&Value| {
            let commands = one["commands"].as_array().into_iter().flatten();
            let advised = one["advice"].as_str().into_iter();
            let mut advised = advised.chain(commands.filter_map(Value::as_str));
            one["verdict"] == verdict
                && one["found"].as_str().is_some_and(|found| found.contains(said))
                && advised.any(|line| line.contains(advice))
        };
        let one = found.iter().find(fits);
        let one = one.unwrap_or_else(|| {
            panic!("{thing:?}: no {verdict} that says {said:?} and advises {advice:?}: {found:#?}")
        });
        let status = i32::from(verdict == "fault");
        if status == 1 {
            assert_eq!(self.status, 1, "{self:#?}");
        }
        let commands = one["commands"].as_array().into_iter().flatten();
        commands.filter_map(|command| command.as_str().map(str::to_owned)).collect()
    }

    /// Expects that all that was looked at of this is well.
    fn is_well(&self, area: &str, check: &str) {
        let found = self.all(area, check);
        assert!(!found.is_empty(), "{area} {check} was not looked at: {self:#?}");
        assert!(found.iter().all(|one| one["verdict"] == "ok"), "{found:#?}");
    }

    /// Those that are not well.
    fn bad(&self) -> Vec<&Value> {
        let bad = |one: &&Value| one["verdict"] == "fault" || one["verdict"] == "warning";
        self.findings.iter().filter(bad).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_set_up_is_well_and_is_left_as_it_is() -> Result<()> {
    let house = House::built().await?;
    let before = house.state().await?;
    let checked = Checked::of(&house.scene)?;
    assert!(checked.bad().is_empty(), "{:#?}", checked.bad());
    assert_eq!(checked.status, 0);
    for (area, checks) in [
        (
            "rabbitmq",
            &[
                "dns",
                "tcp",
                "login",
                "vhost",
                "exchange",
                "queue",
                "alarms",
                "permissions",
                "privileges",
                "user",
                "exchange type",
                "queue arguments",
                "dead-lettering",
                "queue limits",
                "delivery limit",
                "bindings",
                "consumers",
                "dead-letter queue limits",
                "dead-letter binding",
                "nodes",
            ][..],
        ),
        (
            "postgresql",
            &[
                "dns",
                "tcp",
                "login",
                "database",
                "version",
                "encoding",
                "writable",
                "fsync",
                "full_page_writes",
                "synchronous_commit",
                "role",
                "connections",
                "schema",
                "rights",
                "history",
                "rights of others",
                "partitions",
                "indexes",
                "clock",
            ][..],
        ),
    ] {
        for check in checks {
            checked.is_well(area, check);
        }
    }
    assert_eq!(house.scene.asks(&["check", "--strict"])?.status, 0);
    assert_eq!(house.state().await?, before);

    // For people: a line each, and no colours but at a terminal.
    let answer = house.scene.asks(&["check"])?;
    let lines = answer.lines();
    assert!(lines.iter().any(|line| line.starts_with("ok       rabbitmq    login")), "{lines:#?}");
    assert!(lines.last().is_some_and(|line| line.starts_with("0 fault(s), 0 warning(s)")));
    assert!(!answer.text().contains('\u{1b}'));
    let (status, screen) = house.scene.asks_at_a_terminal(200, &[], &["check"])?;
    assert_eq!(status, 0);
    assert!(control_characters(&screen).contains(&'\u{1b}'), "{screen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_start_what_is_not_there_yet_is_no_fault() -> Result<()> {
    let bed = crate::support::Bed::managed().await?;
    let scene = Scene::set(bed).await?.with("rabbitmq.management_url", house::management(bed)?);
    let checked = Checked::of(&scene)?;
    assert_eq!(checked.status, 0, "{:#?}", checked.bad());
    checked.finds(("rabbitmq", "exchange"), "warning", "is not there", "list_exchanges");
    checked.is_well("rabbitmq", "queue");
    checked.is_well("postgresql", "schema");
    assert_eq!(checked.all("postgresql", "rights")[0]["verdict"], "skipped");
    // What grants comes with the schema.
    let role = checked.finds(("postgresql", "role"), "warning", "SUPERUSER", "CREATE ROLE");
    assert!(role[1].starts_with("bloodbank-audit migrate ") && role[2].contains("grant_writer"));
    assert_eq!(scene.asks(&["check", "--strict"])?.status, 1);
    // It made nothing.
    let checked = Checked::of(&scene)?;
    checked.finds(("rabbitmq", "exchange"), "warning", "is not there", "list_exchanges");
    Ok(())
}
