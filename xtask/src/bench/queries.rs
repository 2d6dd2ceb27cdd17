//! Queries: how long the history takes to answer, warm, with a past of months.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;
use sqlx::{AssertSqlSafe, PgConnection};

use super::figure::quantile;
use super::past::{CHAIN, FREQUENT, Past, RARE, link};
use super::scale::Scale;
use crate::screen::Screen;

/// What is asked, and how long it may take.
struct Question {
    name: &'static str,
    /// Most milliseconds of 99 in 100 answers.
    target: f64,
    /// Statements, one for each time it is asked; `{}` is the number of an event, as text.
    statement: &'static str,
    /// Rows of each answer at least.
    rows: usize,
    /// A statement whose plan is kept beside the times; empty where all happens inside of a function.
    explain: &'static str,
}

const BY_ID: &str = "select * from audit.events where event_id = md5('{}')::uuid";
const BY_PREFIX: &str =
    "select * from audit.events where audit.topic_matches(routing_key, 'domain7.#')
    and received_at >= now() - interval '24 hours' order by received_at limit 1000";
const BY_PATTERN: &str = "select * from audit.events
    where routing_key = any (array(select audit.routing_keys('#.again', now() - interval '24 hours')))
    and received_at >= now() - interval '24 hours' order by received_at limit 1000";

const QUESTIONS: &[Question] = &[
    Question { name: "an event by id", target: 5.0, statement: BY_ID, rows: 1, explain: BY_ID },
    Question {
        name: "an event by id, audit.event",
        target: 5.0,
        statement: "select * from audit.event(md5('{}'))",
        rows: 1,
        explain: "",
    },
    Question {
        name: "newest 50 of a frequent type",
        target: 10.0,
        statement: "select * from audit.newest('domain0.entity0.happened', 50)",
        rows: 50,
        explain: "select * from audit.events where event_type = 'domain0.entity0.happened' order by received_at desc limit 50",
    },
    Question {
        name: "newest 50 of a type that comes once in a million",
        target: 10.0,
        statement: "select * from audit.newest('rare.thing.happened', 50)",
        rows: 1,
        explain: "",
    },
    Question {
        name: "newest 50 of a type that never came",
        target: 10.0,
        statement: "select * from audit.newest('never.seen', 50)",
        rows: 0,
        explain: "",
    },
    Question {
        name: "24 hours of domain7.#, first 1,000",
        target: 50.0,
        statement: BY_PREFIX,
        rows: 1_000,
        explain: BY_PREFIX,
    },
    Question {
        name: "24 hours of #.again, first 1,000",
        target: 50.0,
        statement: BY_PATTERN,
        rows: 1_000,
        explain: BY_PATTERN,
    },
    Question {
        name: "trace over a chain of 1,000",
        target: 100.0,
        statement: "select * from audit.trace(md5('{link}'), max_depth => 1000)",
        rows: CHAIN as usize,
        explain: "",
    },
];

/// How long one question took.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub name: &'static str,
    /// Milliseconds, as asked for.
    pub target: f64,
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
    pub asked: usize,
    /// How PostgreSQL goes about it, where it is not inside a function.
    pub plan: String,
}

/// Asks each as often as the scale says, once more before to make it warm.
///
/// # Errors
/// When the server fails, or an answer is too short.
pub async fn measure(screen: &Screen, past: &Past, scale: &Scale) -> Result<Vec<Answer>> {
    debug_assert!(QUESTIONS.iter().any(|question| question.statement.contains(FREQUENT)));
    debug_assert!(QUESTIONS.iter().any(|question| question.statement.contains(RARE)));
    past.database.warm(true).await?;
    let mut connection = past.database.connect().await?;
    let mut random = StdRng::seed_from_u64(7);
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let status = || format!("  asking: {}", question.name);
        let asked = ask(&mut connection, question, past, scale, &mut random);
        answers.push(screen.during(status, asked).await?);
    }
    Ok(answers)
}

async fn ask(
    connection: &mut PgConnection,
    question: &Question,
    past: &Past,
    scale: &Scale,
    random: &mut StdRng,
) -> Result<Answer> {
    let mut numbered = |text: &str| {
        let any = random.random_range(1..=past.rows).to_string();
        text.replace("{link}", &link(past.rows).to_string()).replace("{}", &any)
    };
    let mut times = Vec::new();
    for round in 0..=scale.questions {
        let statement = numbered(question.statement);
        let began = Instant::now();
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.clone()))
            .fetch_all(&mut *connection)
            .await
            .with_context(|| statement.clone())?
            .len();
        let took = began.elapsed();
        ensure!(scale.quick || rows >= question.rows, "{rows} rows: {statement}");
        if round > 0 {
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    let mut plan = String::new();
    if !question.explain.is_empty() {
        let explain = format!(
            "explain (analyze, costs off, timing off, summary off) {}",
            numbered(question.explain)
        );
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(connection).await?;
        plan = lines.join("\n");
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(Answer {
        name: question.name,
        target: question.target,
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
        most: quantile(&times, 1.0),
        asked: times.len(),
        plan,
    })
}
