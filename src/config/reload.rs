//! A configuration read again while the daemon runs: what of it takes effect now, and what with the next start.

use super::Config;
use super::check::clashes;
use super::key::{self, Key, TakesEffect};
use super::layers::{One, absent};
use super::load::Loaded;

/// What a newer configuration changes. It names keys and no values, which may be secrets.
#[derive(Debug)]
pub struct Changes {
    /// What is in effect from now on: the running configuration with what could be taken over.
    pub running: Loaded,
    /// Keys that were taken over.
    pub taken_over: Vec<&'static str>,
    /// Keys whose values take effect with the next start.
    pub need_restart: Vec<&'static str>,
}

impl Loaded {
    /// Takes over from a newer configuration what can change while the daemon runs. A value that means the same in other
    /// words is no change; neither is one that the daemon does not ask for. One that would clash with what waits for the
    /// next start waits too.
    #[must_use]
    pub fn changed_to(&self, newer: &Loaded) -> Changes {
        let mut running = self.clone();
        let (mut taken_over, mut need_restart) = (Vec::new(), Vec::new());
        for key in key::all() {
            let Some(changed) = running.with(key, newer) else { continue };
            let fits = clashes(&changed.config).is_empty();
            match key.takes_effect {
                TakesEffect::OnReload if fits => {
                    running = changed;
                    taken_over.push(key.path);
                }
                TakesEffect::LoginOnReload if fits && differs_in_logins(&running, &changed) => {
                    running = changed;
                    taken_over.push(key.path);
                }
                TakesEffect::OnReload | TakesEffect::LoginOnReload | TakesEffect::AtStart => {
                    need_restart.push(key.path)
                }
                TakesEffect::InCommands => {}
            }
        }
        Changes { running, taken_over, need_restart }
    }

    /// The same with one key as the other configuration has it; none where that changes nothing.
    fn with(&self, key: &'static Key, other: &Loaded) -> Option<Loaded> {
        let [own, value] = [self, other].map(|loaded| loaded.figment.find_value(key.path).ok());
        if own == value {
            return None;
        }
        let value = value.unwrap_or_else(absent);
        let figment = self.figment.clone().merge(One { source: other.source(key), key, value });
        // Each value was accepted beside others, and is checked by itself alone.
        let config = figment.extract::<Config>().ok()?;
        (config != self.config).then_some(Loaded { config, figment })
    }
}

/// Whether both lead to the same servers, and to the same there.
fn differs_in_logins(one: &Loaded, other: &Loaded) -> bool {
    let [one, other] = [&one.config, &other.config];
    one.rabbitmq.url.leads_where(&other.rabbitmq.url)
        && one.postgres.url.leads_where(&other.postgres.url)
}
