use std::collections::HashMap;

use super::{Balance, Culprit, Found, Rejected, Stored, Wrong};
use crate::soak::ledger::{Entry, Records};

const GOOD: [u8; 32] = [1; 32];
const ANONYMOUS: [u8; 32] = [2; 32];
const REFUSED: [u8; 32] = [3; 32];
const REFUSED_BODY: [u8; 32] = [33; 32];
const DOUBT: [u8; 32] = [4; 32];

/// One of each: confirmed once, but for the last, which was sent twice and never confirmed.
fn records() -> Records {
    let entry =
        |number, has_id, refused| Entry { number, published: 1, confirmed: 1, has_id, refused };
    let doubt = Entry { published: 2, confirmed: 0, ..entry(13, true, false) };
    Records {
        entries: HashMap::from([
            (GOOD, entry(10, true, false)),
            (ANONYMOUS, entry(11, false, false)),
            (REFUSED, entry(12, true, true)),
            (DOUBT, doubt),
        ]),
        refused_bodies: HashMap::from([(REFUSED_BODY, REFUSED)]),
    }
}

fn stored(key: [u8; 32]) -> Stored {
    Stored { key, redelivered: false, conflict: false }
}

fn rejected(redelivered: bool) -> Rejected {
    Rejected { key: REFUSED, redelivered, why: "refused 23514".to_owned() }
}

fn found() -> Found {
    Found {
        stored: vec![stored(GOOD), stored(ANONYMOUS)],
        rejected: vec![rejected(false)],
        dead_letters: vec![REFUSED_BODY],
        ..Found::default()
    }
}

fn again(key: [u8; 32]) -> Stored {
    Stored { redelivered: true, ..stored(key) }
}

/// What is wrong after a change to what is right.
fn wrong(change: impl FnOnce(&mut Found)) -> Vec<(Wrong, u64, Option<Culprit>)> {
    let mut found = found();
    change(&mut found);
    let balance = Balance::draw(&records(), &found);
    let first = |examples: &[Culprit]| examples.first().cloned();
    balance.wrong.iter().map(|(w, offence)| (*w, offence.count, first(&offence.examples))).collect()
}

fn one(wrong: Wrong, number: u32) -> Vec<(Wrong, u64, Option<Culprit>)> {
    vec![(wrong, 1, Some(Culprit::Number(number)))]
}

#[test]
fn what_may_be_may_be() {
    assert_eq!(wrong(|_| {}), []);
    assert_eq!(wrong(|found| found.stored.push(stored(DOUBT))), []);
    assert_eq!(wrong(|found| found.stored.push(again(ANONYMOUS))), []);
    assert_eq!(wrong(|found| found.rejected.push(rejected(true))), []);
    let copy = |found: &mut Found| {
        found.dead_letters.push(REFUSED_BODY);
        found.broker_ends = 1;
    };
    assert_eq!(wrong(copy), []);
    let mut found = found();
    found.stored.push(again(ANONYMOUS));
    assert_eq!(Balance::draw(&records(), &found).stored_again, 1);
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(wrong(|found| found.stored.retain(|row| row.key != GOOD)), one(Wrong::Lost, 10));
    assert_eq!(
        wrong(|found| found.stored.retain(|row| row.key != ANONYMOUS)),
        one(Wrong::Lost, 11)
    );
    assert_eq!(wrong(|found| found.rejected.clear()), one(Wrong::NotRejected, 12));
    assert_eq!(wrong(|found| found.dead_letters.clear()), one(Wrong::NotDeadLettered, 12));
}

#[test]
fn what_is_too_much_is_named() {
    assert_eq!(wrong(|found| found.stored.push(again(GOOD))), one(Wrong::StoredTwice, 10));
    assert_eq!(wrong(|found| found.stored.push(stored(ANONYMOUS))), one(Wrong::StoredTwice, 11));
    assert_eq!(
        wrong(|found| found.stored.extend([stored(DOUBT), again(DOUBT)])),
        one(Wrong::StoredTwice, 13)
    );
    assert_eq!(wrong(|found| found.rejected.push(rejected(false))), one(Wrong::RejectedTwice, 12));
    assert_eq!(
        wrong(|found| found.dead_letters.push(REFUSED_BODY)),
        one(Wrong::DeadLetteredTwice, 12)
    );
}

#[test]
fn what_does_not_belong_is_named() {
    let foreign = [9; 32];
    let strange = |wrong| vec![(wrong, 1, Some(Culprit::Digest(foreign)))];
    assert_eq!(wrong(|found| found.stored.push(stored(foreign))), strange(Wrong::Foreign));
    assert_eq!(
        wrong(|found| found.dead_letters.push(foreign)),
        strange(Wrong::DeadLetteredThoughGood)
    );
    assert_eq!(
        wrong(|found| found.rejected.push(Rejected { key: foreign, ..rejected(false) })),
        strange(Wrong::RejectedThoughGood)
    );
    assert_eq!(
        wrong(|found| found.rejected.push(Rejected { key: DOUBT, ..rejected(false) })),
        one(Wrong::RejectedThoughGood, 13)
    );
    assert_eq!(
        wrong(|found| found.stored.push(stored(REFUSED))),
        one(Wrong::StoredThoughRefused, 12)
    );
    assert_eq!(
        wrong(|found| found.rejected[0].why = "malformed".to_owned()),
        one(Wrong::OtherReason, 12)
    );
    let words = "7 without".to_owned();
    assert_eq!(
        wrong(|found| found.wrong_books.push(words.clone())),
        vec![(Wrong::Books, 1, Some(Culprit::Words(words.clone())))]
    );
}
