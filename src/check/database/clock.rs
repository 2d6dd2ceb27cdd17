//! The two clocks.

use std::time::Duration;

use super::{
    super::{finding::Finding, shell::word},
    AREA, Place,
};
use crate::store::{Fault, Survey};

/// From then on times in the history are hard to compare, in seconds.
const NOTICED: f64 = 5.0;
/// From then on retention drops nothing any more, in seconds.
const FAR: f64 = 3600.0;

/// How far the two are apart.
pub async fn check(survey: &mut Survey, place: &Place) -> Result<Finding, Fault> {
    let (ahead, doubt) = survey.clock_ahead().await?;
    Ok(judge(ahead, doubt, place))
}

fn judge(ahead: f64, doubt: Duration, place: &Place) -> Finding {
    let apart = (ahead.abs() - doubt.as_secs_f64()).max(0.0);
    if ahead.abs() < 0.001 {
        return Finding::ok(AREA, "clock", "the database's clock is this machine's");
    }
    let which = if ahead < 0.0 { "behind" } else { "ahead of" };
    let lasting = humantime::format_duration(Duration::from_millis(
        Duration::from_secs_f64(ahead.abs()).as_millis().try_into().unwrap_or(u64::MAX),
    ));
    let found = format!("the database's clock is {lasting} {which} this machine's");
    let finding = if apart > FAR {
        let more = "retention drops nothing, and partitions are those of the wrong time";
        Finding::fault(AREA, "clock", format!("{found}: {more}"))
    } else if apart > NOTICED {
        Finding::warning(
            AREA,
            "clock",
            format!("{found}: times in the history are hard to compare"),
        )
    } else {
        return Finding::ok(AREA, "clock", found);
    };
    let finding = finding
        .advise("set both clocks by NTP; on either machine:")
        .command("timedatectl set-ntp true");
    if place.stays_here {
        return finding;
    }
    finding.command(format!("ssh {} timedatectl", word(&place.host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn clocks_are_judged_by_what_is_sure() {
        let at = |stays_here| Place { host: "db".to_owned(), stays_here };
        let judged = |ahead, doubt| judge(ahead, Duration::from_secs(doubt), &at(false));
        let verdict = |ahead, doubt| judged(ahead, doubt).verdict;
        assert_eq!(verdict(0.2, 0), Verdict::Ok);
        assert_eq!(verdict(6.0, 0), Verdict::Warning);
        // The answer took so long that it tells nothing.
        assert_eq!(verdict(6.0, 2), Verdict::Ok);
        assert_eq!(verdict(-30.0, 1), Verdict::Warning);
        assert_eq!(verdict(-3700.0, 1), Verdict::Fault);
        assert!(judged(-3700.0, 0).found.contains("1h 1m 40s behind"));
        assert_eq!(judged(6.0, 0).commands[1], "ssh db timedatectl");
        assert_eq!(judge(6.0, Duration::ZERO, &at(true)).commands.len(), 1);
    }
}
