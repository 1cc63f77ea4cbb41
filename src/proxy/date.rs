//! The field `Date` (RFC 9110 section 6.6.1), printed once a second, by the second of the wall clock.

use std::cell::RefCell;

use http::header::DATE;
use http::{HeaderValue, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::clock::Clock;

const SECOND_NS: u64 = 1_000_000_000;

/// What dates the responses of a data thread.
pub(super) struct Dates {
    clock: Clock,
    /// Until when on the monotonic clock, in nanoseconds, the text is true.
    printed: RefCell<(u64, HeaderValue)>,
}

impl Dates {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, printed: RefCell::new((0, HeaderValue::from_static(""))) }
    }

    /// Says when a response was made, where nobody did. What time it is on the monotonic clock is known already.
    pub(super) fn date<B>(&self, response: &mut Response<B>, mono_ns: u64) {
        if !response.headers().contains_key(DATE) {
            response.headers_mut().insert(DATE, self.at(mono_ns));
        }
    }

    fn at(&self, mono_ns: u64) -> HeaderValue {
        let (until, text) = &mut *self.printed.borrow_mut();
        if mono_ns >= *until {
            let now = self.clock.now();
            let of_second = u64::from(now.subsec_nanosecond().unsigned_abs());
            (*until, *text) = (mono_ns + SECOND_NS.saturating_sub(of_second), print(now));
        }
        text.clone()
    }
}

fn print(time: Timestamp) -> HeaderValue {
    let text = DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap_or_default();
    HeaderValue::from_str(&text).expect("a date is plain ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_dated_once() {
        assert_eq!(print(Timestamp::from_second(784_111_777).unwrap()), "Sun, 06 Nov 1994 08:49:37 GMT");
        let start = "1994-11-06T08:49:36.9Z".parse().unwrap();
        let clock = Clock::manual(start);
        let dates = Dates::new(clock.clone());
        for (millis, date) in [
            (0, "Sun, 06 Nov 1994 08:49:36 GMT"),
            (99, "Sun, 06 Nov 1994 08:49:36 GMT"),
            (1, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            clock.advance(jiff::SignedDuration::from_millis(millis));
            let mut response = Response::new(());
            dates.date(&mut response, clock.monotonic_ns());
            assert_eq!(response.headers()[DATE], date);
        }
        let mut dated = Response::builder().header(DATE, "x").body(()).unwrap();
        dates.date(&mut dated, clock.monotonic_ns());
        assert_eq!(dated.headers()[DATE], "x");
    }
}
