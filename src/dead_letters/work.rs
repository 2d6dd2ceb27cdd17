//! Sends dead letters again, or discards them: one session with the broker after the other, until each is settled.

use tokio_util::sync::CancellationToken;

use super::{
    Choice, Keeper, Letter, Places, To, Watcher,
    known::Acknowledged,
    letter::Identity,
    outcome::{Ended, Failure, Outcome, TOLD},
    outgoing::Rules,
    settle::{Flight, Sending},
    state::{End, State},
    walk::{Item, Walk},
};
use crate::{
    broker::{Fault, Kind},
    replay::{self, Pace, Patience, say_alarms},
    signals::Stop,
    store::DeadLetterLog,
};

/// Most messages whose confirm is awaited together.
const TOGETHER: usize = 100;

/// What is done with them.
#[derive(Debug, Clone)]
pub enum Action {
    /// They are sent again.
    Requeue {
        /// Where.
        to: To,
        /// Whether user ids are left out, which the broker takes from that user alone.
        without_user_id: bool,
        /// How fast.
        pace: Pace,
    },
    /// They are taken away.
    Discard,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Job {
    /// With which.
    pub choice: Choice,
    /// What.
    pub action: Action,
}

pub(super) struct Work<'a, W> {
    pub job: &'a Job,
    pub places: &'a Places,
    pub log: &'a mut DeadLetterLog,
    pub keeper: &'a mut Option<Box<dyn Keeper>>,
    pub stop: &'a CancellationToken,
    pub watcher: &'a W,
    pub state: &'a mut State,
}

/// Does it, until each that is meant is settled or until it is told to stop.
pub async fn run(
    job: &Job,
    places: &Places,
    mut log: DeadLetterLog,
    mut keeper: Option<Box<dyn Keeper>>,
    stop: &Stop,
    watcher: &impl Watcher,
) -> Outcome {
    let mut state = State::default();
    let work = Work {
        job,
        places,
        log: &mut log,
        keeper: &mut keeper,
        stop: &stop.soft,
        watcher,
        state: &mut state,
    };
    let stopping = async {
        stop.soft.cancelled().await;
        watcher.say(
            "stopping when what is under way is settled; Ctrl-C once more does not wait for it",
        );
        std::future::pending().await
    };
    let ended = tokio::select! {
        biased;
        () = stop.hard.cancelled() => Ended::CutShort,
        ended = work.run() => match ended {
            Ok(true) => Ended::Finished,
            Ok(false) => Ended::Stopped,
            Err(failure) => Ended::Failed(failure),
        },
        never = stopping => never,
    };
    log.close().await;
    Outcome { ended, tally: state.tally }
}

impl<W: Watcher> Work<'_, W> {
    /// Whether all is settled.
    async fn run(mut self) -> Result<bool, Failure> {
        let mut patience = Patience::new(self.places.patience);
        let mut away = false;
        loop {
            let before = (self.state.tally.done, self.state.tally.left());
            let end = self.session().await?;
            let short = matches!(end, End::Short);
            let fault = match end {
                End::Complete => return Ok(true),
                End::Stopped => return Ok(false),
                End::Short if patience.waited() >= SHORT => return Ok(self.without_those()),
                End::Short => {
                    if !std::mem::replace(&mut self.state.short, true) {
                        self.watcher.say(
                            "some that waited when this began are not to be seen: another connection has them in hand, or \
                             they are gone; looking for them a little longer",
                        );
                    }
                    None
                }
                End::Nacked => {
                    self.state.in_vain += 1;
                    if self.state.in_vain == 1 {
                        self.watcher.say(
                            "the broker does not take what is published; trying on another channel, in case it is the \
                             channel's fault",
                        );
                    }
                    None
                }
                End::Lost(fault) if self.is_final(&fault) => return Err(Failure::Broker(fault)),
                End::Lost(fault) => Some(fault),
            };
            if (self.state.tally.done, self.state.tally.left()) != before {
                patience.renew();
                away = false;
            }
            let Some(delay) = patience.next() else {
                if short {
                    return Ok(self.without_those());
                }
                return Err(Failure::Broker(fault.unwrap_or_else(|| Fault {
                    kind: Kind::Unreachable,
                    message: "the broker does not take what is published".to_owned(),
                })));
            };
            if let Some(fault) = fault
                && !std::mem::replace(&mut away, true)
            {
                self.watcher.say(&format!("{fault}; connecting again"));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(false),
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// All is settled but those that somebody else has, who settles them or gives them back.
    fn without_those(&self) -> bool {
        self.watcher.say("some that waited when this began are gone, or in somebody else's hands");
        true
    }

    /// Whether waiting does not mend it. While a broker starts it may refuse what it grants a moment later.
    fn is_final(&self, fault: &Fault) -> bool {
        let first = !self.state.has_read;
        let only_target = matches!(self.job.action, Action::Requeue { to: To::Audit, .. });
        matches!(fault.kind, Kind::Refused | Kind::Clash)
            && (first || only_target && self.state.in_vain > REFUSALS)
    }

    /// One session: through the queue from its head on.
    async fn session(&mut self) -> Result<End, Failure> {
        let mut walk = match Walk::begin(self.places, "dead letters").await {
            Ok(walk) => walk,
            Err(fault) => return Ok(End::Lost(fault)),
        };
        let again = self.state.total.is_some();
        let total = *self.state.total.get_or_insert(walk.waiting());
        let budget = total.saturating_sub(self.state.removed);
        walk.permit(budget);
        let end = match &self.job.action {
            Action::Discard => self.through(&mut walk, None, budget, again).await,
            Action::Requeue { to, without_user_id, pace } => {
                let (address, limit) =
                    (&self.places.broker.address, self.places.broker.connect_timeout);
                let name = format!("{} dead letters", self.places.broker.connection_name);
                match replay::open(address, &name, limit).await {
                    Err(fault) => Ok(End::Lost(fault)),
                    Ok((publisher, lookout)) => {
                        let rules = Rules {
                            to: *to,
                            queue: self.places.queue(),
                            user: &address.user,
                            without_user_id: *without_user_id,
                            frame_max: walk.frame_max(),
                        };
                        let mut sending = Sending::new(publisher, lookout, rules, *pace);
                        let (watcher, ended) = (self.watcher, CancellationToken::new());
                        let alarms =
                            say_alarms(|words| watcher.say(words), &self.places.broker, &ended);
                        let work = async {
                            let through =
                                self.through(&mut walk, Some(&mut sending), budget, again);
                            let end = through.await;
                            ended.cancel();
                            end
                        };
                        let (end, ()) = tokio::join!(work, alarms);
                        sending.close().await;
                        end
                    }
                }
            }
        };
        let fresh = std::mem::take(&mut self.state.fresh);
        if walk.end().await {
            // None was lost, so one that is like them is another one.
            self.state.acknowledged = Acknowledged::default();
        } else {
            self.state.acknowledged.append(fresh);
            if matches!(end, Ok(End::Complete)) {
                self.watcher.say(
                    "the broker did not say that it has taken the last acknowledgements: the last messages may be in the \
                     dead-letter queue still",
                );
            }
        }
        end
    }

    async fn through(
        &mut self,
        walk: &mut Walk,
        mut sending: Option<&mut Sending<'_>>,
        mut budget: u32,
        again: bool,
    ) -> Result<End, Failure> {
        let mut left = self.state.left.clone();
        let mut unreadable = 0;
        loop {
            if self.stop.is_cancelled() {
                return Ok(End::Stopped);
            }
            if self.reached_limit(0) {
                return Ok(End::Complete);
            }
            let page = match walk.page().await {
                Ok(page) => page,
                Err(fault) => return Ok(End::Lost(fault)),
            };
            self.state.has_read = true;
            if page.is_empty() {
                return Ok(if budget > 0 { End::Short } else { End::Complete });
            }
            if let (true, Some(fault)) = (self.job.choice.needs_records(), walk.unknown()) {
                return Err(Failure::Store(fault.clone()));
            }
            // What is to be acknowledged, and whether that is on record.
            let mut ready: Vec<(Letter, Identity, bool)> = Vec::new();
            let mut flights: Vec<Flight> = Vec::new();
            let mut end = None;
            for item in page {
                let letter = match item {
                    Item::Letter(letter) => letter,
                    Item::Unreadable(_) => {
                        budget = budget.saturating_sub(1);
                        unreadable += 1;
                        self.state.tally.unreadable = self.state.tally.unreadable.max(unreadable);
                        continue;
                    }
                };
                let identity = letter.identity();
                let known = again && self.state.acknowledged.take(&identity);
                if known {
                    // Its acknowledgement was lost: it is not one of those that are still to be looked at.
                    walk.permit(1);
                    self.state.removed = self.state.removed.saturating_sub(1);
                    self.state.tally.done = self.state.tally.done.saturating_sub(1);
                    self.state.tally.repeated += 1;
                } else {
                    budget = budget.saturating_sub(1);
                }
                if self.state.settled.take(&identity) {
                    ready.push((*letter, identity, true));
                    continue;
                }
                if end.is_some()
                    || left.take(&identity)
                    || !self.job.choice.fits(&letter)
                    || self.reached_limit(ready.len() + flights.len())
                {
                    continue;
                }
                let Some(sending) = sending.as_deref_mut() else {
                    ready.push((*letter, identity, false));
                    continue;
                };
                if self.stop.is_cancelled() {
                    end = Some(End::Stopped);
                    continue;
                }
                let alone = self.state.wary > 0;
                if alone || flights.len() >= TOGETHER || sending.is_due() {
                    self.settle(walk, sending, &mut flights, &mut ready, &mut end).await?;
                }
                if end.is_none() {
                    self.send(sending, *letter, identity, &mut flights, &mut end).await;
                }
                if alone {
                    self.state.wary = self.state.wary.saturating_sub(1);
                    self.settle(walk, sending, &mut flights, &mut ready, &mut end).await?;
                }
            }
            match sending.as_deref_mut() {
                Some(sending) => {
                    self.settle(walk, sending, &mut flights, &mut ready, &mut end).await?
                }
                None => self.finish(walk, &mut ready, &mut end).await?,
            }
            if let Some(end) = end {
                return Ok(end);
            }
        }
    }

    /// Whether no more are meant, with so many under way.
    fn reached_limit(&self, under_way: usize) -> bool {
        let under_way = u64::try_from(under_way).unwrap_or(u64::MAX);
        let settled = self.state.tally.done + self.state.tally.left();
        self.job.choice.limit.is_some_and(|limit| settled + under_way >= limit)
    }

    /// Leaves it where it is.
    pub(super) fn leave(&mut self, letter: &Letter, identity: Identity, why: String) {
        self.state.left.add(identity);
        if self.state.tally.why.len() < TOLD {
            self.state.tally.why.push((letter.id(), why));
        }
    }
}

/// How often a target may refuse all before that is taken for its last word.
const REFUSALS: u32 = 3;
/// How long those are waited for that another command holds, or the session before: its connection may be dead without
/// the broker's knowing.
const SHORT: std::time::Duration = std::time::Duration::from_secs(10);
