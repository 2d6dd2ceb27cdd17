//! What is said of the log itself: lines that do not go through it, in its format.

use serde::Serialize;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};

use crate::config::LogFormat;

/// A line as the log would write it.
#[derive(Serialize)]
pub(super) struct Notice {
    timestamp: String,
    level: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_lines: Option<u64>,
    target: &'static str,
}

impl Notice {
    /// Something is wrong.
    pub fn error(message: String) -> Notice {
        Notice::new("ERROR", message, None)
    }

    /// Something was wrong, and so many lines are missing.
    pub fn missing(message: String, lines: u64) -> Notice {
        Notice::new("WARN", message, Some(lines))
    }

    fn new(level: &'static str, message: String, missing_lines: Option<u64>) -> Notice {
        let mut timestamp = String::new();
        // Writing to a String cannot fail.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        Notice { timestamp, level, message, missing_lines, target: module_path!() }
    }

    /// The line, with its end.
    pub fn line(&self, format: LogFormat) -> String {
        let Notice { timestamp, level, message, missing_lines, target } = self;
        match format {
            LogFormat::Json => {
                // Text and numbers alone are always JSON.
                serde_json::to_string(self).unwrap_or_default() + "\n"
            }
            LogFormat::Human => {
                let missing = missing_lines.map(|lines| format!(" missing_lines={lines}"));
                let missing = missing.unwrap_or_default();
                format!("{timestamp} {level:>5} {target}: {message}{missing}\n")
            }
        }
    }
}
