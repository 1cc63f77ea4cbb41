//! Spans of time as people write them: `90s`, `1h30m`, `12h`.

use std::time::Duration;

use jiff::SignedDuration;

/// Why a text is no span of time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{}` is not a span of time such as `30s`, `15m` or `12h`", .0.escape_debug())]
pub struct BadDuration(pub String);

/// Parses hours, minutes, seconds and smaller, never negative. A bare number is refused, for it has no unit.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let begins_with_digit = text.starts_with(|first: char| first.is_ascii_digit());
    let parsed = begins_with_digit.then(|| text.parse::<SignedDuration>().ok()).flatten();
    parsed.and_then(|span| Duration::try_from(span).ok()).ok_or_else(|| BadDuration(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_minutes_and_seconds_are_read() {
        let read = |text| parse_duration(text).unwrap().as_millis();
        assert_eq!(read("12h"), 43_200_000);
        assert_eq!(read("1h30m"), 5_400_000);
        assert_eq!(read("90s"), 90_000);
        assert_eq!(read("500ms"), 500);
        assert_eq!(read("8760h"), 31_536_000_000);
        assert_eq!(read("0s"), 0);
    }

    #[test]
    fn what_has_no_unit_or_runs_backwards_is_refused() {
        for text in ["", "12", "-1h", "1h ago", "h", "1 year", "P1D", "soon", "99999999999999999999h"] {
            assert_eq!(parse_duration(text), Err(BadDuration(text.to_owned())), "{text}");
        }
    }
}
