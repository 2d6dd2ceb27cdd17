//! Dead letters, sent again.

use super::{
    ask,
    chosen::ChosenOrAll,
    places,
    summary::{self, Manner},
};
use crate::{
    commands::{
        access,
        replay::{Status, rate},
        settings,
    },
    config::Config,
    dead_letters::{Action, Job, To, new_run},
    replay::Pace,
    store::{DeadLetterAction, DeadLetterLog},
};

/// Options of `bloodbank-audit dead-letters requeue`.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    chosen: ChosenOrAll,
    /// To the exchange that each was published to, instead of the audit queue alone: every queue bound there gets it
    #[arg(long)]
    to_original: bool,
    /// Leave user_id out, which the broker takes from that user alone
    #[arg(long)]
    without_user_id: bool,
    /// At most so fast: 500/s, 30/min, 1000/h
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    #[command(flatten)]
    manner: Manner,
}

impl Options {
    pub async fn run(self, config: &Config) -> anyhow::Result<Status> {
        let mut choice = self.chosen.choice("send again")?;
        let places = places(config, self.manner.patience)?;
        let to = if self.to_original { To::Original } else { To::Audit };
        let target = match to {
            To::Audit => format!("the queue '{}'", places.queue()),
            To::Original => "the exchanges that they came from".to_owned(),
        };
        if to == To::Original && !self.manner.yes {
            let (matched, _) = ask::count(&places, &choice).await?;
            if matched == 0 {
                return Ok(summary::nothing());
            }
            ask::ask(&format!(
                "{matched} dead letter(s) go to {target} at {}: every queue that is bound there for their routing keys gets \
                 them, '{}' of the daemon among them",
                places.broker.address,
                places.queue()
            ))?;
            // What came meanwhile was not asked about.
            choice.limit = Some(matched);
        }
        let who = (access::os_user(), settings::host_name());
        let run = new_run(&places, DeadLetterAction::Requeued, who, (Some(target), None));
        let log = DeadLetterLog::open(&places.store, run).await.map_err(ask::unrecorded)?;
        let pace = Pace { rate: self.rate, ..Pace::default() };
        let action = Action::Requeue { to, without_user_id: self.without_user_id, pace };
        let job = Job { choice, action };
        summary::work(&job, &places, log, None, self.manner.json).await
    }
}
