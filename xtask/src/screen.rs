//! What a person sees: lines that stay, and on a terminal one line that is rewritten in place.

use std::cell::Cell;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// How often a live line is rewritten; fast enough to look alive, slow enough to be read.
pub const REFRESH: Duration = Duration::from_millis(200);

/// Standard output. A closed one ends nothing in the middle: [`Screen::is_closed`] tells.
pub struct Screen {
    is_terminal: bool,
    has_styles: bool,
    live: Cell<bool>,
    closed: Cell<bool>,
}

impl Screen {
    /// Looks at what standard output is.
    pub fn new() -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            is_terminal,
            has_styles: is_terminal && !plain,
            live: Cell::new(false),
            closed: Cell::new(false),
        }
    }

    /// Whether a line can be rewritten in place.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Whether nobody reads any more.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Prints a line that stays.
    pub fn line(&self, text: impl AsRef<str>) {
        self.clear();
        self.write(&format!("{}\n", text.as_ref()));
    }

    /// Rewrites the line in place, cut to the width; nothing where there is no terminal.
    pub fn live(&self, text: &str) {
        if self.is_terminal {
            let text: String = text.chars().take(self.width()).collect();
            self.write(&format!("\r{text}\x1b[K"));
            self.live.set(true);
        }
    }

    /// Takes the live line away.
    pub fn clear(&self) {
        if self.live.take() {
            self.write("\r\x1b[K");
        }
    }

    /// Columns that a live line may fill without wrapping.
    pub fn width(&self) -> usize {
        let columns = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
        columns.saturating_sub(1).max(20)
    }

    /// Text in the background of attention.
    pub fn dim(&self, text: &str) -> String {
        self.styled("2", text)
    }

    /// Text to be found at a glance.
    pub fn bold(&self, text: &str) -> String {
        self.styled("1", text)
    }

    /// Text that says that something is wrong.
    pub fn alarm(&self, text: &str) -> String {
        self.styled("1;31", text)
    }

    /// Says what is being waited for until `work` is done: a live line, or one line that stays.
    pub async fn during<T>(&self, text: impl Fn() -> String, work: impl Future<Output = T>) -> T {
        if !self.is_terminal {
            self.line(text());
        }
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Skip);
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    self.clear();
                    return done;
                }
                _ = refresh.tick() => self.live(&text()),
            }
        }
    }

    fn styled(&self, code: &str, text: &str) -> String {
        if self.has_styles { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn write(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            self.closed.set(true);
        }
    }
}
