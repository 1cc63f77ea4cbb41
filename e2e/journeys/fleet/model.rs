//! What each session may be answered, by what has been done to it. Times are given, from the start of the run.
//!
//! A session that is live is served, as the person who began it. From the moment in which its end is asked for it may be
//! refused, and [`BOUND`] after that was confirmed it must be. Whatever an answer is judged by was known before it came.

use std::collections::BTreeMap;
use std::time::Duration;

/// The longest that a session whose end was confirmed goes on anywhere.
pub const BOUND: Duration = Duration::from_secs(1);

/// What a request with a session got.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// It reached the app as this person.
    Served(String),
    /// It was told to sign in.
    Refused,
}

/// What the model says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// A live session was served.
    Live,
    /// A session was ending: either answer is right.
    Ending,
    /// An ended session was refused.
    Ended,
}

/// An answer that no sound fleet gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Wrong {
    /// A live session was refused.
    LiveRefused,
    /// A session was served so long after its end.
    EndedServed(Duration),
    /// A session was served as somebody else.
    Another(String),
}

/// All sessions, by the name of the person.
#[derive(Default)]
pub struct Model(BTreeMap<String, Life>);

/// Each time is that of the first of its kind.
#[derive(Default)]
struct Life {
    /// When its end was asked for.
    asked: Option<Duration>,
    /// When its end was confirmed.
    confirmed: Option<Duration>,
}

impl Model {
    /// A session has begun.
    pub fn begin(&mut self, person: &str) {
        let before = self.0.insert(person.to_owned(), Life::default());
        assert!(before.is_none(), "one session a person");
    }

    /// Its end is about to be asked for.
    pub fn ends(&mut self, person: &str, now: Duration) {
        self.life(person).asked.get_or_insert(now);
    }

    /// Its end was confirmed.
    pub fn ended(&mut self, person: &str, now: Duration) {
        self.life(person).confirmed.get_or_insert(now);
    }

    /// It was lost with a replica, as an answer just told.
    pub fn lost(&mut self, person: &str, now: Duration) {
        self.ends(person, now);
        self.ended(person, now);
    }

    /// Who has a session whose end nobody has asked for.
    pub fn live(&self) -> Vec<String> {
        self.0.iter().filter(|(_, life)| life.asked.is_none()).map(|(person, _)| person.clone()).collect()
    }

    /// Judges the answer to a request that was sent and answered at these times.
    pub fn judge(&self, person: &str, sent: Duration, answered: Duration, answer: &Answer) -> Result<Verdict, Wrong> {
        let Life { asked, confirmed } = self.0[person];
        let late = confirmed.and_then(|end| sent.checked_sub(end)).filter(|late| *late > BOUND);
        match (answer, late) {
            (Answer::Served(other), _) if other != person => Err(Wrong::Another(other.clone())),
            (Answer::Served(_), Some(late)) => Err(Wrong::EndedServed(late)),
            (Answer::Refused, Some(_)) => Ok(Verdict::Ended),
            (_, None) if asked.is_some_and(|asked| asked <= answered) => Ok(Verdict::Ending),
            (Answer::Served(_), None) => Ok(Verdict::Live),
            (Answer::Refused, None) => Err(Wrong::LiveRefused),
        }
    }

    fn life(&mut self, person: &str) -> &mut Life {
        self.0.get_mut(person).expect("its session has begun")
    }
}
