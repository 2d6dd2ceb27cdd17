//! HTTP, as this program speaks it: to one place, by its own idea of whom to trust, for a bounded time.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, redirect::Policy};
use url::Url;

use super::{Fault, Kind, Trust, tls};

/// A client for that place, that goes nowhere else; each answer may take that long. Under `https` those are trusted who are
/// named, or whom this machine trusts where nobody is.
///
/// # Errors
/// The authorities to be trusted cannot be read.
pub fn web_client(place: &Url, trust: &Trust, limit: Duration) -> Result<Client, Fault> {
    let builder = Client::builder()
        .timeout(limit)
        // An answer from elsewhere is none, and credentials go nowhere else.
        .redirect(Policy::none())
        .no_proxy();
    let trust = match place.scheme() {
        "https" => trust.client(&Arc::default())?,
        _ => tls::trusting_nobody()?,
    };
    builder
        .use_preconfigured_tls(trust)
        .build()
        .map_err(|error| Fault::new(Kind::Clash, format!("HTTP: {}", web_error(error))))
}

/// An error with its causes, of which the client's own words name only the first, and without the URL.
pub fn web_error(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}
