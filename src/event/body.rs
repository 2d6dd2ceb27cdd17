//! What a body is, and which kind of column can hold it.

use super::scan::{Document, NotJson, Value};
use super::{Defect, Event, Expects};

/// Which kind of column can hold a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyForm {
    /// JSON that Postgres' type `json` takes and on which every `->` and `->>` works.
    Json,
    /// Anything else: only bytes keep it.
    Bytes,
}

/// What a body with this outcome of its scan is; adds what is wrong with it.
pub(super) fn form(
    body: &[u8],
    scanned: &Result<Document<'_>, NotJson>,
    defects: &mut Vec<Defect>,
) -> BodyForm {
    let Ok(document) = scanned else {
        return BodyForm::Bytes;
    };
    let unfit = [
        (document.nul_escape, Defect::NulEscape),
        (document.lone_surrogate, Defect::LoneSurrogate),
        (document.max_depth > Event::MAX_JSON_DEPTH, Defect::TooDeep),
        (body.len() > Event::MAX_JSON_BYTES, Defect::TooLarge),
    ];
    let mut form = BodyForm::Json;
    for (_, defect) in unfit.into_iter().filter(|(holds, _)| *holds) {
        defects.push(defect);
        form = BodyForm::Bytes;
    }
    form
}

/// Why a body is not what is expected of it, if it is not.
pub(super) fn malformed(
    body: &[u8],
    scanned: &Result<Document<'_>, NotJson>,
    expects: Expects,
) -> Option<Defect> {
    match (expects, scanned) {
        (Expects::Any, _) => None,
        (_, Err(_)) if body.is_empty() => Some(Defect::EmptyBody),
        (_, Err(NotJson::Utf8 { .. })) => Some(Defect::InvalidUtf8),
        (_, Err(NotJson::Syntax { .. })) => Some(Defect::InvalidJson),
        (Expects::Object, Ok(Document { root: Value::Object(_), .. })) | (Expects::Json, Ok(_)) => {
            None
        }
        (Expects::Object, Ok(_)) => Some(Defect::NotAnObject),
    }
}
