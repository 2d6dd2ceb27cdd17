//! How long something took, in one or two units.

use time::Duration;

/// `12 ms`, `3.4 s`, `2m 5s`, `3h 20m`, `5d 1h`; a sign is left out.
#[must_use]
pub fn lasted(duration: Duration) -> String {
    let micros = duration.whole_microseconds().unsigned_abs();
    let seconds = micros / 1_000_000;
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{seconds}.{} s", micros / 100_000 % 10),
        _ => {
            let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
            let first = units.iter().position(|(_, size)| seconds >= *size).unwrap_or(3);
            let mut rest = seconds;
            let mut parts = Vec::new();
            for (name, size) in units.iter().skip(first).take(2) {
                if rest >= *size {
                    parts.push(format!("{}{name}", rest / size));
                }
                rest %= size;
            }
            parts.join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_are_enough() {
        for (duration, said) in [
            (Duration::ZERO, "0 µs"),
            (Duration::microseconds(999), "999 µs"),
            (Duration::milliseconds(-12), "12 ms"),
            (Duration::milliseconds(3_456), "3.4 s"),
            (Duration::seconds(60), "1m"),
            (Duration::seconds(125), "2m 5s"),
            (Duration::seconds(3 * 3600 + 20 * 60 + 7), "3h 20m"),
            (Duration::days(400), "400d"),
            (Duration::days(400) + Duration::minutes(5), "400d"),
        ] {
            assert_eq!(lasted(duration), said);
        }
    }
}
