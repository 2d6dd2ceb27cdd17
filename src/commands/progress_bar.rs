//! The bar that shows how far a long command is.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

/// Gives a bar its look: `before`, the bar, position, rate and time left, `{msg}` where `after` has it. The bar itself
/// takes what room is left, so that a narrow terminal shows the rest in one line.
pub fn styled(bar: ProgressBar, before: &str, after: &str) -> ProgressBar {
    let template = format!("{before}{{wide_bar}} {{pos}}/{{len}}  {{rate}}  {{eta}} left{after}");
    let Ok(style) = ProgressStyle::with_template(&template) else { return bar };
    bar.with_style(style.with_key("rate", rate))
}

fn rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // A bar that cannot be drawn tells nobody anything, and stops nothing.
    let _ = write!(out, "{:.0}/s", state.per_sec());
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressBar, ProgressDrawTarget, TermLike};

    use super::styled;

    /// A terminal so many columns wide, with what was written to it.
    #[derive(Debug, Clone)]
    struct Terminal(u16, Arc<Mutex<String>>);

    impl TermLike for Terminal {
        fn width(&self) -> u16 {
            self.0
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.1.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.1.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn it_stands_in_one_line_however_narrow_the_terminal_is() {
        for width in [50, 60, 80, 200] {
            let written = Arc::new(Mutex::new(String::new()));
            let terminal = Terminal(width, Arc::clone(&written));
            let target = ProgressDrawTarget::term_like(Box::new(terminal));
            let bar = ProgressBar::with_draw_target(Some(14_335), target);
            let bar = styled(bar, "{msg} ", "").with_message("events");
            bar.set_position(8_343);
            written.lock().unwrap().clear();
            bar.force_draw();
            let shown = written.lock().unwrap().trim_end().to_owned();
            assert!(shown.chars().count() <= width.into(), "{width}: {shown}");
            assert!(shown.contains("8343/14335"), "{width}: {shown}");
            let rate = shown.split_whitespace().find(|word| word.ends_with("/s"));
            assert!(rate.is_some_and(|rate| !rate.contains('.')), "{width}: {shown}");
        }
    }
}
