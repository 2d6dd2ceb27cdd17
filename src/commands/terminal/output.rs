//! Where a command that reads writes: stdout, or a pager where that is a terminal.

use std::{
    env,
    io::{self, BufWriter, IsTerminal as _, Stdout, Write},
    process::{Child, ChildStdin, Command, Stdio},
};

use terminal_size::terminal_size_of;

use crate::signals;

/// Bytes that are gathered before they are written.
const BUFFER: usize = 256 * 1024;
/// What a terminal is taken for that does not tell its width.
const USUAL_WIDTH: usize = 80;

/// What the reader sees it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whether it is a terminal, which must never get control characters of events.
    pub terminal: bool,
    /// Columns in a line; `usize::MAX` where nothing limits them.
    pub width: usize,
    /// Whether colours are wanted: on a terminal that has some, unless `NO_COLOR` is set.
    pub colours: bool,
}

impl Look {
    /// What stdout is. A width in `COLUMNS` counts where stdout does not tell one.
    #[must_use]
    pub fn of_stdout() -> Look {
        let terminal = io::stdout().is_terminal();
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        let told = terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
        let named = || set("COLUMNS")?.to_str()?.parse().ok();
        let width = told.filter(|&width| width > 0).or_else(named).filter(|&width| width > 0);
        Look {
            terminal,
            width: width.unwrap_or(if terminal { USUAL_WIDTH } else { usize::MAX }),
            colours: terminal
                && set("NO_COLOR").is_none()
                && set("TERM").is_some_and(|term| term != "dumb"),
        }
    }
}

/// Whether a pager may stand between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    /// `$PAGER`, or `less -FRX`, where stdout is a terminal. An empty `PAGER`, or `cat`, is none.
    Auto,
    /// Never.
    Never,
}

/// Where a command that reads writes.
pub struct Output {
    sink: Sink,
    look: Look,
}

enum Sink {
    Stdout(BufWriter<Stdout>),
    Pager(Pager),
}

struct Pager {
    // None once it was told that there is no more.
    input: Option<BufWriter<ChildStdin>>,
    child: Child,
}

impl Output {
    /// Opens stdout, or a pager. One that cannot be started is done without.
    #[must_use]
    pub fn open(paging: Paging) -> Output {
        let look = Look::of_stdout();
        let pager = (look.terminal && paging == Paging::Auto).then(Pager::start).flatten();
        let sink = match pager {
            Some(pager) => Sink::Pager(pager),
            None => Sink::Stdout(BufWriter::with_capacity(BUFFER, io::stdout())),
        };
        Output { sink, look }
    }

    /// What the reader sees it on.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look
    }

    /// Whether a reader at a pager may keep whoever writes waiting.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        matches!(self.sink, Sink::Pager(_))
    }

    /// Whether the reader has left the pager, so that nothing needs to be read for it any more.
    pub fn is_left(&mut self) -> bool {
        match &mut self.sink {
            Sink::Stdout(_) => false,
            Sink::Pager(pager) => matches!(pager.child.try_wait(), Ok(Some(_))),
        }
    }

    /// Writes what is left, and waits until the reader has left the pager.
    ///
    /// # Errors
    /// It cannot be written, or `$PAGER` is no program; a reader that has seen enough is [`io::ErrorKind::BrokenPipe`].
    pub fn close(mut self) -> io::Result<()> {
        self.flush()?;
        match &mut self.sink {
            Sink::Stdout(_) => Ok(()),
            Sink::Pager(pager) => pager.end(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.sink {
            Sink::Stdout(stdout) => stdout.write(bytes),
            Sink::Pager(pager) => pager.pass(|input| input.write(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Stdout(stdout) => stdout.flush(),
            Sink::Pager(pager) => pager.pass(Write::flush),
        }
    }
}

impl Pager {
    fn start() -> Option<Pager> {
        let mut command = match env::var("PAGER") {
            Ok(named) if matches!(named.trim(), "" | "cat") => return None,
            // It may hold arguments, as a shell reads them.
            Ok(named) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", &named]);
                shell
            }
            Err(_) => {
                let mut less = Command::new("less");
                less.arg("-FRX");
                less
            }
        };
        // What is written is UTF-8, whatever the locale says.
        if env::var_os("LESSCHARSET").is_none() {
            command.env("LESSCHARSET", "utf-8");
        }
        let mut child = command.stdin(Stdio::piped()).spawn().ok()?;
        let input = child.stdin.take().map(|stdin| BufWriter::with_capacity(BUFFER, stdin));
        // Without a handler an interrupt, which pagers have a use for, would end this process before the pager. There is
        // nothing better to do where there can be none.
        let _ = signals::leave_interrupts_to_others();
        Some(Pager { input, child })
    }

    /// Passes something on to it. Where it has gone, it tells whether it was ever there.
    fn pass<T>(
        &mut self,
        what: impl FnOnce(&mut BufWriter<ChildStdin>) -> io::Result<T>,
    ) -> io::Result<T> {
        let passed = match &mut self.input {
            Some(input) => what(input),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        if passed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.end()?;
        }
        passed
    }

    /// Tells it that there is no more, and waits until it has ended.
    fn end(&mut self) -> io::Result<()> {
        // Dropped without writing what is left in it: that went, or cannot go.
        if let Some(input) = self.input.take() {
            let _ = input.into_parts();
        }
        match self.child.wait()?.code() {
            // What a shell says of a program that it does not find, or may not run.
            Some(126 | 127) => Err(io::Error::other(
                "the pager cannot be run: correct PAGER, or ask for none by --no-pager",
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        // Its input ends; what could not be written was said by whoever flushed.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
