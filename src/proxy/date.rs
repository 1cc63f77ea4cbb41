//! The field `Date` (RFC 9110 section 6.6.1), printed once a second.

use std::cell::RefCell;

use http::header::DATE;
use http::{HeaderValue, Response};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use crate::clock::Clock;

/// What dates the responses of a data thread.
pub(super) struct Dates {
    clock: Clock,
    /// The second and its text.
    printed: RefCell<(i64, HeaderValue)>,
}

impl Dates {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, printed: RefCell::new((i64::MIN, HeaderValue::from_static(""))) }
    }

    /// Says when a response was made, where nobody did.
    pub(super) fn date<B>(&self, response: &mut Response<B>) {
        if !response.headers().contains_key(DATE) {
            response.headers_mut().insert(DATE, self.now());
        }
    }

    fn now(&self) -> HeaderValue {
        let now = self.clock.now();
        let (second, text) = &mut *self.printed.borrow_mut();
        if *second != now.as_second() {
            (*second, *text) = (now.as_second(), print(now));
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
        let dates = Dates::new(Clock::system());
        let mut response = Response::new(());
        dates.date(&mut response);
        assert_eq!(response.headers()[DATE].len(), "Sun, 06 Nov 1994 08:49:37 GMT".len());
        let mut dated = Response::builder().header(DATE, "x").body(()).unwrap();
        dates.date(&mut dated);
        assert_eq!(dated.headers()[DATE], "x");
    }
}
