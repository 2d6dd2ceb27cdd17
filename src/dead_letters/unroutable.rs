//! Which messages the broker gave back, as no queue was bound for them.

use std::collections::VecDeque;

use crate::{broker::Returned, event::Properties};

/// The broker's words on each of these messages that may have come back; their routing keys and properties are given.
///
/// What comes back need not be what was published: since RabbitMQ 3.12 an interceptor of the broker may write a time into it,
/// and the node's name. One that is like no message stands for all under its routing key, as one that is in no
/// queue must not be taken for confirmed. Two that are alike come back both.
pub fn given_back(
    returned: VecDeque<Returned>,
    published: &[(&str, &Properties)],
) -> Vec<Option<String>> {
    let mut causes: Vec<Option<String>> = vec![None; published.len()];
    for Returned { cause, routing_key, properties } in returned {
        let under_its_key = |&(key, _): &(&str, &Properties)| key == routing_key;
        let alike = published
            .iter()
            .zip(&causes)
            .position(|(one, known)| known.is_none() && under_its_key(one) && *one.1 == properties);
        if let Some(at) = alike {
            causes[at] = Some(cause);
            continue;
        }
        let none_has_it = !published.iter().any(under_its_key);
        for (one, known) in published.iter().zip(&mut causes) {
            if none_has_it || under_its_key(one) {
                known.get_or_insert_with(|| cause.clone());
            }
        }
    }
    causes
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::FieldValue;

    fn with(header: &str, value: FieldValue) -> Properties {
        let headers = Some(BTreeMap::from([(header.to_owned(), value)]));
        Properties { headers, ..Properties::default() }
    }

    fn back(key: &str, properties: &Properties) -> Returned {
        Returned {
            cause: "312 NO_ROUTE".to_owned(),
            routing_key: key.to_owned(),
            properties: properties.clone(),
        }
    }

    /// Which of the published came back.
    fn those(returned: &[Returned], published: &[(&str, &Properties)]) -> Vec<bool> {
        let causes = given_back(returned.to_vec().into(), published);
        causes.iter().map(Option::is_some).collect()
    }

    #[test]
    fn one_that_came_back_as_it_was_is_that_one() {
        let [one, two] = [1, 2].map(|n| with("n", FieldValue::I64(n)));
        let published = [("a", &one), ("a", &two), ("b", &two), ("a", &two)];
        assert_eq!(those(&[], &published), [false; 4]);
        assert_eq!(those(&[back("a", &two)], &published), [false, true, false, false]);
        let both = [back("a", &two), back("a", &two)];
        assert_eq!(those(&both, &published), [false, true, false, true]);
    }

    #[test]
    fn one_that_came_back_changed_may_be_any_under_its_key() {
        let one = with("timestamp_in_ms", FieldValue::I64(1));
        let published = [("a", &one), ("b", &one), ("a", &one)];
        let intercepted = with("timestamp_in_ms", FieldValue::I64(2));
        assert_eq!(those(&[back("a", &intercepted)], &published), [true, false, true]);
        assert_eq!(those(&[back("b", &intercepted)], &published), [false, true, false]);
        assert_eq!(those(&[back("c", &one)], &published), [true; 3]);
    }
}
