//! Who is to blame, and what is the last word.

use time::macros::datetime;

use super::*;

fn arrival(seq: i64) -> Arrival {
    Arrival { received_at: datetime!(2026-01-01 00:00 UTC), seq }
}

fn fault(kind: Kind) -> Fault {
    Fault { kind, message: "said".to_owned() }
}

fn carried() -> Carried {
    Carried::new(LONGEST_NACK)
}

#[test]
fn an_event_is_to_blame_only_alone() {
    let mut carried = carried();
    carried.lost(&[arrival(1), arrival(2)], &fault(Kind::Clash), true);
    assert_eq!((carried.wary, carried.known.len()), (2, 0));
    carried.lost(&[arrival(2)], &fault(Kind::Clash), true);
    assert_eq!(carried.known[&arrival(2)], Settled::Refused("said".to_owned()));
}

#[test]
fn a_lost_connection_blames_nobody_at_first() {
    let mut carried = carried();
    carried.lost(&[arrival(1), arrival(2)], &fault(Kind::Unreachable), true);
    assert_eq!(carried.wary, 0);
    carried.lost(&[arrival(1), arrival(2)], &fault(Kind::Unreachable), true);
    assert_eq!(carried.wary, 2);
    for death in 1..=DEATHS {
        assert!(carried.known.is_empty(), "{death}");
        carried.lost(&[arrival(1)], &fault(Kind::Unreachable), true);
    }
    assert!(carried.known.contains_key(&arrival(1)));
}

#[test]
fn a_broker_that_goes_away_itself_blames_nobody_ever() {
    let mut carried = carried();
    for _ in 0..20 * DEATHS {
        carried.lost(&[arrival(1)], &fault(Kind::Unreachable), false);
    }
    assert!(carried.known.is_empty());
    let last = carried.last_word(fault(Kind::Unreachable)).message;
    assert!(last.contains("100 times in a row") && last.contains("seq 1"), "{last}");
    // Nor does it count for the next one.
    for _ in 1..DEATHS {
        carried.lost(&[arrival(2)], &fault(Kind::Unreachable), true);
    }
    assert!(carried.known.is_empty());
}

#[test]
fn nacks_are_final_after_time_and_channels_in_vain() {
    let start = Instant::now();
    let late = start + LONGEST_NACK;
    let mut nacks = Nacks::new(LONGEST_NACK);
    for _ in 0..ATTEMPTS {
        assert!(!nacks.is_final(arrival(1), "a", start));
        nacks.one_more_channel();
    }
    assert!(!nacks.is_final(arrival(1), "a", late - Duration::from_millis(1)), "too early");
    assert!(nacks.is_final(arrival(1), "a", late));
    assert!(nacks.is_final(arrival(2), "b", late), "no channel confirms anything");
    nacks.confirmed(arrival(4), "c");
    assert!(!nacks.is_final(arrival(5), "c", late), "one does");
    assert!(nacks.is_final(arrival(6), "a", late), "not of this key");
    nacks.confirmed(arrival(7), "a");
    assert!(!nacks.is_final(arrival(8), "a", late));

    // Time alone is not enough: it may have been one channel's fault.
    let mut nacks = Nacks::new(Duration::ZERO);
    assert!(!nacks.is_final(arrival(1), "a", start));
}

/// As the broker says it.
fn refused_key() -> Fault {
    let message =
        "ACCESS_REFUSED - access to topic 'k' in exchange 'x' in vhost '/' refused for user 'u'";
    Fault { kind: Kind::Refused, message: message.to_owned() }
}

/// A session in which so many are published to an exchange, and the last one is refused alone.
fn session(carried: &mut Carried, number: u64, exchange: &str, key: &str) -> Option<String> {
    carried.of_answers();
    for _ in 1..number {
        carried.publishing(exchange.to_owned(), "other".to_owned());
    }
    carried.publishing(exchange.to_owned(), key.to_owned());
    carried.lost(&[arrival(1)], &refused_key(), true)
}

#[test]
fn a_refused_routing_key_closes_nothing_but_itself() {
    let mut carried = carried();
    assert_eq!(session(&mut carried, 1, "x", "k"), None);
    assert!(carried.refused("x", "k").is_some());
    assert!(carried.refused("x", "l").is_none() && carried.refused("y", "k").is_none());
    carried.of_answers();
    carried.publishing("x".to_owned(), "k".to_owned());
    let words = carried.lost(&[arrival(2)], &fault(Kind::Refused), true);
    assert!(words.is_some_and(|words| words.contains("'x'")), "the exchange itself");
    assert!(carried.refused("x", "l").is_some() && carried.refused("y", "k").is_none());
}

#[test]
fn refused_keys_in_a_row_are_not_tried_without_end() {
    let mut carried = carried();
    for number in 1..KEYS_IN_A_ROW {
        assert_eq!(session(&mut carried, 1, "x", &number.to_string()), None);
        assert_eq!(session(&mut carried, 2, "y", &number.to_string()), None);
    }
    let words = session(&mut carried, 1, "x", "last").unwrap();
    let others = format!("so were {} other routing keys", KEYS_IN_A_ROW - 1);
    assert!(words.contains(&others), "{words}");
    assert!(carried.refused("x", "anything").is_some(), "none in a row was taken there");
    assert!(session(&mut carried, 2, "y", "last").is_none());
    assert!(carried.refused("y", "anything").is_none(), "others were taken there");
}
