//! A figure: the median of what the runs measured, and how far they lie apart.

use std::fmt;

use serde::Serialize;

/// The median of some measurements of one thing.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// All, in order of time.
    pub all: Vec<f64>,
}

impl Figure {
    /// Of at least one measurement; `None` of none.
    pub fn of(all: impl IntoIterator<Item = f64>) -> Option<Self> {
        let all: Vec<f64> = all.into_iter().collect();
        let mut sorted = all.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { median, least, most, all })
    }
}

/// `7.3 (7.1–8.0)`, with as many decimals as asked for, or as three digits need.
impl fmt::Display for Figure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.all.len() {
            1 => plain(self.median),
            _ => format!("{} ({}–{})", plain(self.median), plain(self.least), plain(self.most)),
        };
        to.pad(&text)
    }
}

/// A number as people read it: three digits, or all of a large one.
pub fn plain(number: f64) -> String {
    match number.abs() {
        0.0..9.995 => format!("{number:.2}"),
        ..99.95 => format!("{number:.1}"),
        ..10_000.0 => format!("{number:.0}"),
        _ => crate::figures::count(number.round() as u64),
    }
}

/// The value below which that share of the sorted values lies; zero of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Figure, plain, quantile};

    #[test]
    fn a_figure_is_a_median_and_a_spread() {
        let odd = Figure::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((odd.median, odd.least, odd.most), (2.0, 1.0, 3.0));
        assert_eq!(odd.to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Figure::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Figure::of([7.0]).unwrap().to_string(), "7.00");
        assert!(Figure::of([]).is_none());
    }

    #[test]
    fn numbers_have_three_digits_or_all() {
        assert_eq!([0.123, 12.34, 123.4, 41_234.4].map(plain), ["0.12", "12.3", "123", "41,234"]);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile(&values, share)), [100.0, 198.0, 200.0]);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
