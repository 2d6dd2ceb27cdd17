//! Messages that the AMQP client cannot parse, counted. Nobody ever sees one: each ends the session it is delivered in,
//! until the queue's delivery limit makes a dead letter of it.
//!
//! What is known is this: sessions that took one delivery at a time ended without settling any, and meanwhile the
//! dead-letter queue has grown by more than this process sent there. Another daemon on the same queue may have sent
//! some of them; in a dead-letter queue that somebody empties meanwhile they may go unseen.

#[derive(Debug, Default)]
pub(super) struct Unparsable {
    /// Sessions that ended so, one after the other.
    deaths: u32,
    /// A delivery was settled since.
    passed: bool,
    /// Dead letters that this process did not send, when it last looked.
    others: Option<i64>,
}

/// What a look at the dead-letter queue tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// So many have left the queue since the last look.
    Left(u64),
    /// Deliveries are settled again after that many such sessions, and no dead letter tells why.
    Passed(u32),
    /// Nothing new.
    Nothing,
}

impl Unparsable {
    /// A session ended by itself that took one delivery at a time and settled none.
    pub fn died_alone(&mut self) {
        self.deaths += 1;
        self.passed = false;
    }

    /// A session settled a delivery.
    pub fn settled(&mut self) {
        self.passed = true;
    }

    /// A session opens: the dead-letter queue holds so many messages, and this process has sent so many there.
    pub fn look(&mut self, dead_letters: u32, rejected: u64) -> Look {
        let others = i64::from(dead_letters) - i64::try_from(rejected).unwrap_or(i64::MAX);
        let before = self.others.replace(others).unwrap_or(others);
        let left = u64::try_from(others - before).unwrap_or_default();
        let deaths = self.deaths;
        // The dead letter may come a little later than the delivery that passes, so one more look is taken after it.
        if self.passed || left > 0 {
            *self = Unparsable { others: self.others, ..Unparsable::default() };
        }
        match (deaths, left) {
            (0, _) => Look::Nothing,
            (_, 0) if self.deaths == 0 => Look::Passed(deaths),
            (_, 0) => Look::Nothing,
            (_, left) => Look::Left(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_that_nobody_sent_after_sessions_that_died_alone_is_one() {
        let mut unparsable = Unparsable::default();
        assert_eq!(unparsable.look(7, 0), Look::Nothing);
        unparsable.died_alone();
        assert_eq!(unparsable.look(7, 0), Look::Nothing);
        unparsable.died_alone();
        assert_eq!(unparsable.look(8, 0), Look::Left(1));
        // The next one of its kind, right behind it, and another after a good delivery.
        unparsable.died_alone();
        assert_eq!(unparsable.look(9, 0), Look::Left(1));
        unparsable.settled();
        unparsable.died_alone();
        assert_eq!(unparsable.look(10, 0), Look::Left(1));
        assert_eq!(unparsable.look(11, 0), Look::Nothing);
    }

    #[test]
    fn what_this_process_rejected_is_none() {
        let mut unparsable = Unparsable::default();
        unparsable.died_alone();
        assert_eq!(unparsable.look(9, 0), Look::Nothing);
        unparsable.settled();
        assert_eq!(unparsable.look(12, 3), Look::Passed(1));
        assert_eq!(unparsable.look(13, 3), Look::Nothing);
    }

    #[test]
    fn a_dead_letter_that_comes_late_is_still_seen() {
        let mut unparsable = Unparsable::default();
        unparsable.look(0, 0);
        unparsable.died_alone();
        assert_eq!(unparsable.look(0, 0), Look::Nothing);
        unparsable.settled();
        assert_eq!(unparsable.look(1, 0), Look::Left(1));
    }
}
