//! A URL with several hosts, as libpq writes it: `scheme://user:password@one:5432,two:5433/path?query`.

use url::form_urlencoded;

/// A URL, taken apart around its hosts.
#[derive(Debug, Clone, Copy)]
pub struct Hosts<'a> {
    before: &'a str,
    hosts: &'a str,
    after: &'a str,
}

impl<'a> Hosts<'a> {
    /// Takes a URL apart. A comma in a password is none between hosts.
    pub fn of(url: &'a str) -> Hosts<'a> {
        let authority = url.find("://").map_or(url.len(), |at| at + "://".len());
        let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
        let start = url[authority..end].rfind('@').map_or(authority, |at| authority + at + 1);
        Hosts { before: &url[..start], hosts: &url[start..end], after: &url[end..] }
    }

    /// One URL for each host, in their order; at least one.
    pub fn each(self) -> impl Iterator<Item = String> {
        self.hosts.split(',').map(move |host| [self.before, host, self.after].concat())
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.hosts.split(',').count()
    }

    /// Whether user and password seem to stand before each host, as some other URLs have it: there is an @ before a comma before the
    /// last @. What is before that one would be taken for a password.
    pub fn repeats_login(&self) -> bool {
        let login = self.before.split_once("://").map_or("", |(_, login)| login);
        let login = login.strip_suffix('@').unwrap_or(login);
        login.split_once('@').is_some_and(|(_, rest)| rest.contains(','))
    }

    /// The same URL with the hosts of another one.
    pub fn with_hosts_of(&self, other: &Hosts<'_>) -> String {
        [self.before, other.hosts, self.after].concat()
    }
}

/// The parameter that says what a server has to be for; sqlx does not know it.
pub const SESSION: &str = "target_session_attrs";

/// A URL without that parameter, and its last value.
pub fn without(url: &str, parameter: &str) -> (String, Option<String>) {
    let Some((before, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut value = None;
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| match form_urlencoded::parse(pair.as_bytes()).next() {
            Some((name, found)) if name == parameter => {
                value = Some(found.into_owned());
                false
            }
            _ => true,
        })
        .collect();
    let gap = if kept.is_empty() { "" } else { "?" };
    (format!("{before}{gap}{}", kept.join("&")), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(url: &str) -> Vec<String> {
        Hosts::of(url).each().collect()
    }

    #[test]
    fn each_host_has_the_rest_of_the_url() {
        assert_eq!(
            each("amqp://u:p@a:1,b,[::1]:3/v?x=1,2"),
            ["amqp://u:p@a:1/v?x=1,2", "amqp://u:p@b/v?x=1,2", "amqp://u:p@[::1]:3/v?x=1,2"]
        );
        assert_eq!(each("amqp://u:p,w@a"), ["amqp://u:p,w@a"]);
        assert_eq!(each("postgres:///db?host=/run/a,b"), ["postgres:///db?host=/run/a,b"]);
        assert_eq!(each("nothing"), ["nothing"]);
        for (url, repeats) in [
            ("amqp://u:p@a,u:p@b/", true),
            ("amqp://u:p,@w@a,b/", false),
            ("amqp://u:p@a,b/?x=@,@", false),
            ("nothing", false),
        ] {
            assert_eq!(Hosts::of(url).repeats_login(), repeats, "{url}");
        }
        let two = "postgres://u:p@a,b/db";
        assert_eq!(
            Hosts::of("postgres://u:***@a/db").with_hosts_of(&Hosts::of(two)),
            "postgres://u:***@a,b/db"
        );
    }

    #[test]
    fn a_parameter_is_taken_out_and_the_others_stay() {
        let without = |url| without(url, "x");
        assert_eq!(without("a://b/c?x=1"), ("a://b/c".to_owned(), Some("1".to_owned())));
        assert_eq!(
            without("a://b/c?y=%20&x=1&z"),
            ("a://b/c?y=%20&z".to_owned(), Some("1".to_owned()))
        );
        assert_eq!(without("a://b/c?y=x"), ("a://b/c?y=x".to_owned(), None));
        assert_eq!(without("a://b/c"), ("a://b/c".to_owned(), None));
    }
}
