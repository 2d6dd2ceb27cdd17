//! The Dockerfile and compose.yaml: they are documentation, and what they name is there and means what they say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::{
    cli::Cli,
    config::{Config, Environment, Flags},
};
use clap::Parser as _;
use regex::Regex;
use serde::Deserialize;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One instruction: its name, its flags, and the rest.
#[derive(Debug)]
struct Instruction {
    name: String,
    flags: BTreeMap<String, String>,
    rest: String,
}

impl Instruction {
    /// The words of the rest, or the strings where it is written as a list.
    fn words(&self) -> Vec<String> {
        match serde_json::from_str(&self.rest) {
            Ok(words) => words,
            Err(_) => self.rest.split_whitespace().map(str::to_owned).collect(),
        }
    }
}

/// The stages of the Dockerfile, each from its FROM on.
fn stages() -> Result<Vec<Vec<Instruction>>> {
    let text = fs::read_to_string(root().join("Dockerfile"))?;
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let mut stages: Vec<Vec<Instruction>> = Vec::new();
    for line in lines.join("\n").replace("\\\n", " ").lines().filter(|line| !line.is_empty()) {
        let (name, mut rest) = line.split_once(' ').with_context(|| format!("alone: {line}"))?;
        let mut flags = BTreeMap::new();
        while let Some(flag) = rest.trim_start().strip_prefix("--") {
            let (flag, after) = flag.split_once(' ').context("a flag and nothing behind it")?;
            let (flag, value) = flag.split_once('=').context("a flag without a value")?;
            flags.insert(flag.to_owned(), value.to_owned());
            rest = after;
        }
        ensure!(name.chars().all(|c| c.is_ascii_uppercase()), "not an instruction: {line}");
        if name == "FROM" {
            stages.push(Vec::new());
        }
        let rest = rest.trim().to_owned();
        let instruction = Instruction { name: name.to_owned(), flags, rest };
        stages.last_mut().context("something before FROM")?.push(instruction);
    }
    Ok(stages)
}

/// The only instruction of that name.
fn only<'a>(stage: &'a [Instruction], name: &str) -> Result<&'a Instruction> {
    let mut found = stage.iter().filter(|instruction| instruction.name == name);
    let only = found.next().with_context(|| format!("no {name}"))?;
    ensure!(found.next().is_none(), "{name} twice");
    Ok(only)
}

/// Whether the program understands a command line whose first word is its path.
fn is_understood(words: &[String]) -> bool {
    Cli::try_parse_from(words).is_ok()
}

/// What the build stage copies from here.
fn sources(build: &[Instruction]) -> BTreeSet<String> {
    let copies = build.iter().filter(|instruction| instruction.name == "COPY");
    copies
        .flat_map(|copy| {
            let mut words = copy.words();
            words.pop();
            words
        })
        .collect()
}

#[test]
fn the_image_is_built_from_what_is_there() -> Result<()> {
    let stages = stages()?;
    let [build, image] = &stages[..] else { anyhow::bail!("{} stages", stages.len()) };
    let sources = sources(build);
    for source in &sources {
        ensure!(root().join(source).exists(), "{source} is not there");
    }
    // What docker sends to the builder is just that.
    let ignored = fs::read_to_string(root().join(".dockerignore"))?;
    let mut lines = ignored.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"));
    let sent: BTreeSet<_> = lines.filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(sent, sources.iter().map(String::as_str).collect());

    // It is enough for Cargo to know the workspace by, as it was locked, and for what the sources include.
    let elsewhere = tempfile::tempdir()?;
    for source in &sources {
        std::os::unix::fs::symlink(root().join(source), elsewhere.path().join(source))?;
    }
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(elsewhere.path())
        .output()?;
    ensure!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));

    // The image has the compiler that Cargo.toml asks for, and both stages the same C library.
    let [from, base] = [only(build, "FROM")?.words(), only(image, "FROM")?.words()];
    let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
    let wanted = Regex::new("rust-version = \"(.*)\"")?;
    let wanted = &wanted.captures(&manifest).context("no rust-version")?[1];
    let debian = base[0].strip_prefix("debian:").and_then(|tag| tag.strip_suffix("-slim"));
    let debian = debian.context("not Debian")?;
    assert_eq!(from, [&format!("rust:{wanted}-slim-{debian}"), "AS", "build"]);

    // What is built is what is taken along.
    let copy = only(image, "COPY")?;
    assert_eq!(copy.flags.get("from").map(String::as_str), Some("build"));
    let [built, program] = &copy.words()[..] else { anyhow::bail!("{copy:?}") };
    let target = PathBuf::from(only(build, "WORKDIR")?.rest.clone()).join("target/release");
    assert_eq!(Path::new(built), target.join("bloodbank-audit"));
    assert!(only(build, "RUN")?.rest.contains("--release --package bloodbank-audit"));
    assert_eq!(only(image, "ENTRYPOINT")?.words(), std::slice::from_ref(program));
    Ok(())
}

#[test]
fn the_image_runs_the_daemon_as_nobody_special_and_asks_how_it_fares() -> Result<()> {
    let stages = stages()?;
    let image = stages.last().context("no stage")?;
    let user = &only(image, "USER")?.rest;
    let (user, group) = user.split_once(':').context("no group")?;
    assert!(user.parse::<u32>()? > 0 && group.parse::<u32>()? > 0);
    assert!(only(image, "RUN")?.rest.contains(&format!("--uid {user} ")));

    let program = only(image, "ENTRYPOINT")?.words();
    assert!(is_understood(&[program.clone(), only(image, "CMD")?.words()].concat()));
    let health = only(image, "HEALTHCHECK")?;
    let asked = health.rest.strip_prefix("CMD ").context("not a command")?;
    let asked: Vec<String> = serde_json::from_str(asked)?;
    assert_eq!(asked[..2], [program[0].clone(), "health".to_owned()]);
    assert!(is_understood(&asked), "{asked:?}");
    assert!(!is_understood(&[&asked[..], &["--no-such-flag".to_owned()]].concat()));
    // It has the answer before docker stops waiting.
    assert!(humantime::parse_duration(&health.flags["timeout"])? > Duration::from_secs(5));

    let (name, value) = only(image, "ENV")?.rest.split_once('=').context("no value")?;
    let environment = Environment::empty().with_variable(name, value);
    let listen = Config::load(&Flags::default(), &environment)?.config.http.listen;
    let port = listen.context("it listens nowhere")?.port();
    assert_eq!(only(image, "EXPOSE")?.rest, port.to_string());
    Ok(())
}

/// Of compose's own format what stands in compose.yaml, and no more: what else is written there is a mistake.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    name: String,
    services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<()>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    build: Option<String>,
    hostname: Option<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Condition>,
    environment: BTreeMap<String, String>,
    ports: Option<Vec<String>>,
    #[serde(default)]
    volumes: Vec<String>,
    healthcheck: Option<Healthcheck>,
    stop_grace_period: Option<String>,
    restart: String,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    cap_drop: Vec<String>,
    #[serde(default)]
    security_opt: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    condition: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Healthcheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

#[test]
fn compose_starts_the_daemon_between_two_servers_that_are_well() -> Result<()> {
    let text = fs::read_to_string(root().join("compose.yaml"))?;
    let variables = Regex::new(r"\$\{PASSWORD(:\?[^}]*)?\}")?;
    assert!(text.contains("${PASSWORD:?"), "nothing is said where it is not set");
    let compose: Compose = serde_saphyr::from_str(&variables.replace_all(&text, "letters"))?;
    assert_eq!(compose.name, "bloodbank-audit");
    for (name, service) in &compose.services {
        let (image, tag) = service.image.rsplit_once(':').context("an image without a tag")?;
        assert!(!image.is_empty() && tag != "latest", "{name}: {}", service.image);
        assert_eq!(service.restart, "unless-stopped");
        for port in service.ports.iter().flatten() {
            assert!(port.starts_with("127.0.0.1:"), "{name} is published to others at {port}");
        }
        for volume in &service.volumes {
            let (volume, _) = volume.split_once(':').context("a volume without a path")?;
            assert!(compose.volumes.contains_key(volume), "{name}: {volume} is not declared");
        }
        for (on, Condition { condition }) in &service.depends_on {
            assert_eq!(condition, "service_healthy");
            let Healthcheck { test, interval, timeout, retries } =
                compose.services[on].healthcheck.as_ref().context("nobody asks")?;
            assert!(test[0] == "CMD" && test.len() > 1, "{test:?}");
            let [interval, timeout] =
                [interval, timeout].map(|time| humantime::parse_duration(time));
            assert!(interval? * *retries >= Duration::from_secs(60) && timeout? > Duration::ZERO);
        }
    }
    // What servers keep, they keep under a name that stays.
    let [rabbitmq, postgres] = ["rabbitmq", "postgres"].map(|name| &compose.services[name]);
    assert_eq!(rabbitmq.hostname.as_deref(), Some("rabbitmq"));
    assert!(rabbitmq.volumes.len() == 1 && postgres.volumes.len() == 1);

    let audit = &compose.services["audit"];
    assert_eq!(audit.build.as_deref(), Some("."));
    assert!(audit.read_only && audit.cap_drop == ["ALL"]);
    assert_eq!(audit.security_opt, ["no-new-privileges:true"]);
    let mut environment = Environment::empty();
    for (name, value) in &audit.environment {
        assert!(name.starts_with("BLOODBANK_AUDIT__"), "{name} is nothing to the daemon");
        environment = environment.with_variable(name, value);
    }
    // Unknown keys and impossible values are refused here.
    let config = Config::load(&Flags::default(), &environment)?.config;
    assert_eq!(config.rabbitmq.url.host, "rabbitmq");
    assert_eq!(config.rabbitmq.url.user, rabbitmq.environment["RABBITMQ_DEFAULT_USER"]);
    assert_eq!(
        config.rabbitmq.url.password.expose(),
        rabbitmq.environment["RABBITMQ_DEFAULT_PASS"]
    );
    let made = &postgres.environment;
    let (user, password, database) =
        (&made["POSTGRES_USER"], &made["POSTGRES_PASSWORD"], &made["POSTGRES_DB"]);
    assert_eq!(
        config.postgres.url.expose(),
        format!("postgres://{user}:{password}@postgres/{database}")
    );
    assert_eq!(config.storage.instance.as_deref(), Some("compose"));
    let grace = humantime::parse_duration(audit.stop_grace_period.as_deref().context("none")?)?;
    assert!(grace > config.shutdown.grace);
    let version = audit.image.rsplit_once(':').map(|(_, version)| version);
    assert_eq!(version, Some(env!("CARGO_PKG_VERSION")));
    Ok(())
}
