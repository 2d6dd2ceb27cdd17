//! Rates and factors, as people write them.

/// `500/s`, `30/min`, `1000/h`, or a plain number a second: events a second.
pub fn rate(text: &str) -> Result<f64, String> {
    let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        _ => return Err("write events a time: 500/s, 30/min, 1000/h".to_owned()),
    };
    match positive(number) {
        Some(number) => Ok(number / seconds),
        None => Err("write a number above 0 and a time: 500/s, 30/min, 1000/h".to_owned()),
    }
}

/// `10x` or `0.5`.
pub fn speed(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix(['x', 'X']).unwrap_or(text);
    positive(number).ok_or_else(|| "write a factor above 0: 10x, 1x, 0.5x".to_owned())
}

fn positive(text: &str) -> Option<f64> {
    let allowed = 1e-6..=1e9;
    text.trim().parse().ok().filter(|number: &f64| allowed.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_factors_as_people_write_them() {
        for (text, meant) in
            [("500/s", 500.0), ("30/min", 0.5), ("7200/h", 2.0), ("12", 12.0), ("0.5 / s", 0.5)]
        {
            assert_eq!(rate(text), Ok(meant), "{text}");
        }
        for text in ["0/s", "-1/s", "x", "", "5/day", "inf/s", "NaN", "/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(speed("10x"), Ok(10.0));
        assert_eq!(speed("0.5"), Ok(0.5));
        for text in ["0x", "x", "-1", "1e99x", ""] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
