//! `traceparent` (W3C Trace Context level 1, section 3.2): what comes in is continued where it is valid, else as good as absent.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// The field that names a trace.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The span of the caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parent {
    /// The trace.
    pub trace_id: u128,
    /// The span.
    pub span_id: u64,
    /// Whether the caller records it.
    pub sampled: bool,
}

impl Parent {
    /// The caller's, where the fields have exactly one that is valid.
    pub fn of(fields: &HeaderMap) -> Option<Self> {
        let mut values = fields.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() { None } else { Self::parse(value.as_bytes()) }
    }

    /// Of a later version only what this one has is read, as the standard asks.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(55)?;
        let [version, trace_id, span_id, flags] = [&known[..2], &known[3..35], &known[36..52], &known[53..]];
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        let version = hex(version)?;
        let ends = more.is_empty() || version > 0 && more[0] == b'-';
        if !dashes || version == 0xff || !ends {
            return None;
        }
        let parent = Self {
            trace_id: hex(trace_id)?,
            span_id: u64::try_from(hex(span_id)?).ok()?,
            sampled: hex(flags)? & 1 == 1,
        };
        (parent.trace_id != 0 && parent.span_id != 0).then_some(parent)
    }

    /// Puts it in the place of what the fields have. `tracestate` belongs to a trace that is continued, and goes with any other.
    pub fn write(self, continued: bool, fields: &mut HeaderMap) {
        let Self { trace_id, span_id, sampled } = self;
        let text = format!("00-{trace_id:032x}-{span_id:016x}-{:02x}", u8::from(sampled));
        fields.insert(TRACEPARENT, HeaderValue::from_str(&text).expect("hex digits and dashes"));
        if !continued {
            fields.remove(TRACESTATE);
        }
    }
}

/// Lower-case hex digits, as the standard wants them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number << 4 | u128::from(digit - b'0')),
        b'a'..=b'f' => Some(number << 4 | u128::from(digit - b'a' + 10)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_traceparent_is_read() {
        let expected = Parent {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            span_id: 0xb7ad_6b71_6920_3331,
            sampled: true,
        };
        assert_eq!(Parent::parse(GOOD.as_bytes()), Some(expected));
        for (flags, sampled) in [("00", false), ("02", false), ("03", true), ("ff", true)] {
            let text = format!("{}{flags}", &GOOD[..53]);
            assert_eq!(Parent::parse(text.as_bytes()), Some(Parent { sampled, ..expected }), "{text}");
        }
        for later in ["cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &format!("cc{}-what.else", &GOOD[2..])]
        {
            assert_eq!(Parent::parse(later.as_bytes()), Some(expected), "{later}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_as_good_as_absent() {
        for bad in [
            "",
            "00",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-011",
            "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more",
            "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0x-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g",
            " 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 ",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\u{e9}",
        ] {
            assert_eq!(Parent::parse(bad.as_bytes()), None, "`{bad}`");
        }
        let mut twice = HeaderMap::new();
        twice.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert!(Parent::of(&twice).is_some());
        twice.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(Parent::of(&twice), None);
    }

    #[test]
    fn what_is_written_is_read_back_and_state_goes_with_a_trace_that_is_not_continued() {
        let parent = Parent { trace_id: 7, span_id: u64::MAX, sampled: false };
        for continued in [true, false] {
            let mut fields = HeaderMap::new();
            fields.append(TRACEPARENT, HeaderValue::from_static("a"));
            fields.append(TRACEPARENT, HeaderValue::from_static("b"));
            fields.append(TRACESTATE, HeaderValue::from_static("vendor=1"));
            parent.write(continued, &mut fields);
            assert_eq!((Parent::of(&fields), fields.contains_key(TRACESTATE)), (Some(parent), continued));
        }
    }
}
