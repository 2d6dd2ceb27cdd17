//! Topic patterns, as a topic exchange takes them: words between dots, `*` for exactly one, `#` for any number.

/// Whether a routing key fits a pattern. Takes time by the product of their words.
#[must_use]
pub fn topic_matches(key: &str, pattern: &str) -> bool {
    let key: Vec<&str> = if key.is_empty() { Vec::new() } else { key.split('.').collect() };
    // Whether the pattern so far fits the first so many words.
    let mut fits = vec![false; key.len() + 1];
    fits[0] = true;
    for word in pattern.split('.').filter(|_| !pattern.is_empty()) {
        if word == "#" {
            for n in 1..fits.len() {
                fits[n] = fits[n] || fits[n - 1];
            }
        } else {
            for n in (1..fits.len()).rev() {
                fits[n] = fits[n - 1] && (word == "*" || word == key[n - 1]);
            }
            fits[0] = false;
        }
    }
    fits[key.len()]
}

#[cfg(test)]
mod tests {
    use super::topic_matches;

    #[test]
    fn words_fit_as_in_a_topic_exchange() {
        for (pattern, fitting, others) in [
            ("#", &["", "a", "a.b"][..], &[][..]),
            ("a.#", &["a", "a.b", "a.b.c"], &["", "b", "b.a"]),
            ("#.c", &["c", "a.c", "a.b.c", "c.c"], &["c.d", ""]),
            ("a.*", &["a.b", "a."], &["a", "a.b.c"]),
            ("*.*", &["a.b", "."], &["a", ""]),
            ("a.#.b.#", &["a.b", "a.x.b.y.b", "a.b.b"], &["a", "a.x"]),
            ("a.b", &["a.b"], &["a.c", "a", "a.b.c"]),
            ("", &[""], &["a"]),
        ] {
            for key in fitting {
                assert!(topic_matches(key, pattern), "{key} {pattern}");
            }
            for key in others {
                assert!(!topic_matches(key, pattern), "{key} {pattern}");
            }
        }
        // Sixty words and an empty one, at least.
        assert!(topic_matches(&"a.".repeat(120), &"#.*.".repeat(60)));
        assert!(!topic_matches(&"a.".repeat(59), &"#.*.".repeat(60)));
    }
}
