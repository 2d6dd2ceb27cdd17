//! Certificates that end.

use time::{Duration, OffsetDateTime};

use super::finding::{Area, Finding};
use crate::{certificates::moment, event::now};

/// Who is warned this long before has time to have another made.
const SOON: Duration = Duration::days(30);

/// Until when a certificate is valid, and what to do where that is soon.
pub fn ends(area: Area, whose: &str, until: OffsetDateTime, advice: &str) -> Finding {
    let left = until - now();
    let when = format!("{whose} is valid until {}", moment(until));
    if left.is_negative() {
        Finding::fault(area, "certificate", format!("{when}, which is past")).advise(advice)
    } else if left < SOON {
        let days = left.whole_days();
        Finding::warning(area, "certificate", format!("{when}, for {days} days more"))
            .advise(advice)
    } else {
        Finding::ok(area, "certificate", when)
    }
}
