//! A webhook.

use reqwest::{Client, Response, header::CONTENT_TYPE};
use url::Url;

use super::PATIENCE;
use crate::{
    broker::{Fault, Trust, web_client, web_error},
    event::column_text,
    ledger::Note,
};

/// How much of an answer is kept as a receipt.
const RECEIPT_BYTES: usize = 1024;

pub(super) struct Webhook {
    client: Client,
    url: Url,
    /// What of the URL is no secret.
    server: String,
}

impl Webhook {
    pub fn new(url: &Url) -> Result<Webhook, Fault> {
        // It is no part of the bus, whose authorities are of no use here: those of this machine are trusted.
        let client = web_client(url, &Trust::default(), PATIENCE)?;
        Ok(Webhook { client, url: url.clone(), server: url.origin().ascii_serialization() })
    }

    /// The answer's status, and the beginning of what it says.
    pub async fn post(&self, note: &Note) -> Result<String, String> {
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(note.to_string());
        let lost = |error| format!("{}: {}", self.server, web_error(error));
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("{} answers {status}", self.server));
        }
        let said = beginning(answer).await;
        Ok(format!("{status} {said}").trim_end().to_owned())
    }
}

/// It was taken by its status: an answer that breaks off is one all the same.
async fn beginning(mut answer: Response) -> String {
    let mut said = Vec::new();
    while let Ok(Some(part)) = answer.chunk().await {
        said.extend_from_slice(&part);
        if said.len() >= RECEIPT_BYTES {
            said.truncate(RECEIPT_BYTES);
            break;
        }
    }
    column_text(&String::from_utf8_lossy(&said)).into_owned()
}
