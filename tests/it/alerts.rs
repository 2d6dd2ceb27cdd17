//! The alert rules and the dashboard: accepted, firing in each outage, and about metrics that there are. Scraped by a real
//! Prometheus.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use bloodbank_audit::{http::ask, measures};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use testbed::{Package, Prometheus, ensure_installed, eventually, prometheus::promtool};

use crate::support::{Bed, PATIENCE, Scene, event};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The names of alerts, in order.
fn alerts() -> Vec<String> {
    let rules = read("config/prometheus-alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

async fn accepted(arguments: &[&str]) -> Result<String> {
    ensure_installed(&[Package::Prometheus]).await?;
    let output = promtool(arguments, &root())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(output.status.success(), "promtool {arguments:?}: {}\n{said}", output.status);
    Ok(said)
}

#[tokio::test]
async fn the_rules_are_accepted_and_each_fires_in_its_outage() -> Result<()> {
    let said = accepted(&["check", "rules", "config/prometheus-alerts.yml"]).await?;
    assert!(said.contains(&format!("{} rules found", alerts().len())), "{said}");
    accepted(&["test", "rules", "tests/alerts.yml"]).await?;
    let tests = read("tests/alerts.yml");
    for alert in alerts() {
        let named = tests.matches(&format!("alertname: {alert}\n")).count();
        assert_eq!(named, 2, "{alert}: silent once, and firing once");
    }
    Ok(())
}

#[test]
fn each_alert_has_a_paragraph_in_the_runbook() {
    let runbook = read("docs/runbook.md");
    let headed: Vec<_> = runbook.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headed, alerts());
    assert!(headed.len() >= 15, "{headed:?}");
}

/// Words of the text that name a metric of ours, without what histograms add.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let named = text.split(word).filter(|word| word.starts_with("bloodbank_audit_"));
    named
        .map(|name| {
            let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| {
                let name = name.strip_suffix(end)?;
                measures::ALL.iter().any(|measure| measure.name == name).then_some(name)
            });
            histogram.unwrap_or(name).to_owned()
        })
        .collect()
}

#[test]
fn rules_and_dashboard_are_about_metrics_that_there_are() {
    let known: BTreeSet<_> = measures::ALL.iter().map(|measure| measure.name.to_owned()).collect();
    let mut used = BTreeSet::new();
    for path in
        ["config/prometheus-alerts.yml", "config/grafana-dashboard.json", "tests/alerts.yml"]
    {
        let named = metrics_named(&read(path));
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
        used.extend(named);
    }
    assert!(used.len() > 25, "{used:?}");
    let dashboard: Value = serde_json::from_str(&read("config/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 15);
    for panel in panels {
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}

/// What Prometheus answers to a query: the value of the only sample.
async fn value(prometheus: &Prometheus, query: &str) -> Result<f64> {
    let address = SocketAddr::from(([127, 0, 0, 1], prometheus.port()));
    let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
    let (code, body) = ask(address, &format!("/api/v1/query?query={query}")).await?;
    ensure!(code == 200, "{code}: {body}");
    let answer: Value = serde_json::from_str(&body)?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    Ok(value.with_context(|| format!("nothing for {query}: {body}"))?.parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_it_and_notices_its_end() -> Result<()> {
    ensure_installed(&[Package::Prometheus]).await?;
    let bed = Bed::shared().await?;
    let scene = Scene::set(bed).await?.with("http.listen", "127.0.0.1:0");
    let daemon = scene.daemon().await?;
    let at = daemon.serves_at().await?;
    let rules = root().join("config/prometheus-alerts.yml");
    let prometheus = Prometheus::start("bloodbank-audit", &at.to_string(), &rules).await?;
    let messages: Vec<_> = (0..7).map(event).collect();
    scene.publish(&messages).await?;
    let is = async |query: &str, wanted: f64| {
        eventually(&format!("{query} is {wanted}"), PATIENCE, async || {
            let found = value(&prometheus, query).await?;
            ensure!((found - wanted).abs() < f64::EPSILON, "{found}");
            Ok(())
        })
        .await
    };
    is("up", 1.0).await?;
    is("bloodbank_audit_events_stored_total", 7.0).await?;
    is("bloodbank_audit_commit_latency_seconds_count", 7.0).await?;
    is("bloodbank_audit_ready", 1.0).await?;
    is("count(ALERTS) or vector(0)", 0.0).await?;
    daemon.stops_cleanly().await?;
    is("up", 0.0).await?;
    is("count(ALERTS{alertname=\"BloodbankAuditDown\", alertstate=\"pending\"})", 1.0).await?;
    assert!(prometheus.is_running());
    Ok(())
}
