//! A panic is an event of the log like any other.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;

use crate::config::redact;

/// From now on a panic is logged as one `error` event with its message, thread and location, and with a
/// backtrace where `RUST_BACKTRACE` asks for it. What becomes of the process is the supervisor's business.
pub fn install() {
    std::panic::set_hook(Box::new(log));
}

fn log(panic: &PanicHookInfo<'_>) {
    let message = redact(panic.payload_as_str().unwrap_or("a panic without a message"));
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(ToString::to_string);
    let location = location.as_deref().unwrap_or("unknown");
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        tracing::error!(thread, location, %backtrace, "panicked: {message}");
    } else {
        tracing::error!(thread, location, "panicked: {message}");
    }
}
