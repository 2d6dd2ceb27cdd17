//! Patterns: what SQL matches is what a topic exchange routes.

use std::collections::BTreeSet;

use amqprs::channel::{ExchangeDeclareArguments, QueueBindArguments, QueueDeclareArguments};
use anyhow::Result;
use bloodbank_audit::event::topic_matches;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::support::{Bed, Message, Scene, drain};

const PATTERNS: usize = 60;
const KEYS: usize = 400;

/// Few words, so that many pairs match: wildcards also in keys, empty ones, ones with what expressions give a meaning.
const WORDS: [&str; 12] = ["a", "b", "a", "b", "*", "#", "", "ab", "a*", "(b|a)", "\\.[^$", "ü"];

fn some_words(random: &mut StdRng, wildcards: bool) -> String {
    let words = random.random_range(0..=6);
    let word = |random: &mut StdRng| match random.random_range(0..10) {
        0..3 if wildcards => "#",
        3..5 if wildcards => "*",
        _ => WORDS[random.random_range(0..WORDS.len())],
    };
    (0..words).map(|_| word(random)).collect::<Vec<_>>().join(".")
}

/// Some that must be among the patterns, and keys that show them.
const ODD_PATTERNS: [&str; 12] =
    ["", "*", "#", ".", ".#", "#.", "#..#", "*.#", "#.*", "#.#", "#.a.#.b.#", "a.*.#.#.*.b"];
const ODD_KEYS: [&str; 8] = ["", ".", "..", "a.", ".a", "a..b", "a.x.b", "a.x.y.b"];

#[tokio::test(flavor = "multi_thread")]
async fn sql_matches_what_a_topic_exchange_routes() -> Result<()> {
    let mut random = StdRng::seed_from_u64(20_260_127);
    let mut patterns: Vec<_> = ODD_PATTERNS.map(str::to_owned).to_vec();
    patterns.extend((0..PATTERNS).map(|_| some_words(&mut random, true)));
    let mut keys: Vec<_> = ODD_KEYS.map(str::to_owned).to_vec();
    keys.extend((0..KEYS).map(|_| some_words(&mut random, false)));
    for texts in [&mut patterns, &mut keys] {
        texts.sort();
        texts.dedup();
    }

    let scene = Scene::migrated(Bed::shared().await?).await?;
    let routed = routed(&scene, &patterns, &keys).await?;
    let mut sql = scene.sql().await?;
    let matched: Vec<(i64, i64)> = sqlx::query_as(
        "select p.number - 1, k.number - 1
           from unnest($1::text[]) with ordinality as p (pattern, number),
                unnest($2::text[]) with ordinality as k (key, number)
          where audit.topic_matches(k.key, p.pattern)",
    )
    .bind(&patterns)
    .bind(&keys)
    .fetch_all(&mut sql)
    .await?;
    let matched: BTreeSet<(usize, usize)> = matched
        .into_iter()
        .map(|(p, k)| Ok((p.try_into()?, k.try_into()?)))
        .collect::<Result<_>>()?;

    let named = |pairs: BTreeSet<&(usize, usize)>| {
        pairs.iter().map(|(p, k)| (&patterns[*p], &keys[*k])).collect::<Vec<_>>()
    };
    let only_sql = named(matched.difference(&routed).collect());
    let only_broker = named(routed.difference(&matched).collect());
    assert!(only_sql.is_empty() && only_broker.is_empty(), "{only_sql:?} {only_broker:?}");
    // And so does the program, where there is no database.
    let fits = |pair: &(usize, usize)| topic_matches(&keys[pair.1], &patterns[pair.0]);
    let all = (0..patterns.len()).flat_map(|p| (0..keys.len()).map(move |k| (p, k)));
    let own: BTreeSet<_> = all.filter(fits).collect();
    let (more, less) =
        (named(own.difference(&routed).collect()), named(routed.difference(&own).collect()));
    assert!(more.is_empty() && less.is_empty(), "{more:?} {less:?}");
    let pairs = patterns.len() * keys.len();
    assert!(matched.len() > pairs / 20, "only {} of {pairs} match", matched.len());
    Ok(())
}

/// Which messages, by the number of their key, an exchange routes to queues bound by these patterns, by their number.
async fn routed(
    scene: &Scene,
    patterns: &[String],
    keys: &[String],
) -> Result<BTreeSet<(usize, usize)>> {
    let (connection, channel) = scene.client().await?;
    let exchange = ExchangeDeclareArguments::new(&scene.exchange(), "topic").durable(true).finish();
    channel.exchange_declare(exchange).await?;
    let queue = |number: usize| format!("{}.{number}", scene.name);
    for (number, pattern) in patterns.iter().enumerate() {
        channel.queue_declare(QueueDeclareArguments::new(&queue(number))).await?;
        channel
            .queue_bind(QueueBindArguments::new(&queue(number), &scene.exchange(), pattern))
            .await?;
    }
    let numbered = |(number, key): (usize, &String)| Message::new(key, number.to_string());
    let messages: Vec<_> = keys.iter().enumerate().map(numbered).collect();
    scene.publish(&messages).await?;
    let mut routed = BTreeSet::new();
    for number in 0..patterns.len() {
        for body in drain(scene, &queue(number)).await? {
            routed.insert((number, String::from_utf8(body)?.parse()?));
        }
    }
    connection.close().await?;
    Ok(routed)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pattern_is_too_long() -> Result<()> {
    let scene = Scene::migrated(Bed::shared().await?).await?;
    let mut sql = scene.sql().await?;
    let long = |word: &str, last: &str| format!("{}{last}", format!("{word}.").repeat(10_000));
    let key = long("a", "b").chars().take(255).collect::<String>();
    for (pattern, matches) in [
        (long("a", "b"), false),
        (long("*", "b"), false),
        (long("#", "b"), false),
        (long("#", "#"), true),
        (long("#", "a"), true),
        (long("#.a", "b"), false),
        ("#.a.".repeat(100) + "#", true),
        ("#.a.".repeat(300) + "#", false),
        ("#.a.*.".repeat(64) + "#", true),
        ("#.a.*.".repeat(65) + "#", false),
        ("#.b.".repeat(200) + "#.a", false),
        ("#.a".to_owned() + &".*".repeat(127), true),
        ("#.a".to_owned() + &".*".repeat(128), false),
    ] {
        let (matched,): (bool,) = sqlx::query_as("select audit.topic_matches($1, $2)")
            .bind(key.trim_end_matches('.'))
            .bind(&pattern)
            .fetch_one(&mut sql)
            .await?;
        assert_eq!(matched, matches, "{}… of {} characters", &pattern[..10], pattern.len());
    }
    let (unknown,): (bool,) = sqlx::query_as(
        "select audit.topic_matches(null, 'a') is null and audit.topic_matches('a', null) is null",
    )
    .fetch_one(&mut sql)
    .await?;
    assert!(unknown);
    Ok(())
}
