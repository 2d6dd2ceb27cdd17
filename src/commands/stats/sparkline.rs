//! Figures as a line of bars.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The figures as bars, the greatest one as high as can be, and nothing where there is nothing. In no more columns than
/// that: several neighbours are one bar then, as high as their sum.
pub fn sparkline(figures: &[i64], columns: usize) -> String {
    let each = figures.len().div_ceil(columns.max(1)).max(1);
    let sums: Vec<i64> = figures.chunks(each).map(|some| some.iter().sum()).collect();
    let greatest = sums.iter().copied().max().unwrap_or_default().max(1);
    let bar = |sum: i64| match sum {
        ..=0 => ' ',
        _ => {
            let height = (i128::from(sum) * 8 - 1) / i128::from(greatest);
            BARS[usize::try_from(height).unwrap_or_default().min(7)]
        }
    };
    sums.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn the_greatest_is_as_high_as_can_be() {
        assert_eq!(sparkline(&[0, 1, 4, 8], 80), " ▁▄█");
        assert_eq!(sparkline(&[5], 80), "█");
        assert_eq!(sparkline(&[], 80), "");
        assert_eq!(sparkline(&[i64::MAX, 1], 80), "█▁");
        assert_eq!(sparkline(&[1, 1, 2, 2, 8], 3), "▄▅█".replace('▄', "▂").replace('▅', "▄"));
        assert_eq!(sparkline(&[1; 100], 20).chars().count(), 20);
    }
}
