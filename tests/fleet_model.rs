//! The model against which the journey `fleet` holds every answer: what it lets pass, and that it lets no broken fleet pass.

#[path = "../e2e/journeys/fleet/model.rs"]
mod model;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Answer, BOUND, Model, Verdict, Wrong};

const fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn an_answer_is_right_by_what_was_done_to_the_session() {
    let served = || Answer::Served("ada".to_owned());
    let mut model = Model::default();
    model.begin("ada");
    assert_eq!(model.judge("ada", at(100), at(200), &served()), Ok(Verdict::Live));
    assert_eq!(model.judge("ada", at(100), at(200), &Answer::Refused), Err(Wrong::LiveRefused));
    assert_eq!(
        model.judge("ada", at(100), at(200), &Answer::Served("bob".to_owned())),
        Err(Wrong::Another("bob".to_owned()))
    );
    assert_eq!(model.live(), ["ada"]);

    model.ends("ada", at(1000));
    assert!(model.live().is_empty());
    for answer in [served(), Answer::Refused] {
        assert_eq!(model.judge("ada", at(900), at(1100), &answer), Ok(Verdict::Ending));
        // A broken connection told nothing of the sign-out: it may be done any time.
        assert_eq!(model.judge("ada", at(60_000), at(60_001), &answer), Ok(Verdict::Ending));
    }
    assert_eq!(model.judge("ada", at(800), at(999), &Answer::Refused), Err(Wrong::LiveRefused));

    model.ended("ada", at(2000));
    let bound = at(2000) + BOUND;
    for answer in [served(), Answer::Refused] {
        assert_eq!(model.judge("ada", bound, at(9000), &answer), Ok(Verdict::Ending));
    }
    assert_eq!(model.judge("ada", bound + at(1), at(9000), &Answer::Refused), Ok(Verdict::Ended));
    assert_eq!(model.judge("ada", bound + at(1), at(9000), &served()), Err(Wrong::EndedServed(BOUND + at(1))));
    model.ended("ada", at(8000));
    assert_eq!(
        model.judge("ada", bound + at(1), at(9000), &Answer::Refused),
        Ok(Verdict::Ended),
        "the first end counts"
    );
}

#[test]
fn what_is_lost_stays_lost() {
    let mut model = Model::default();
    model.begin("ada");
    model.lost("ada", at(1000));
    assert_eq!(model.judge("ada", at(900), at(1000), &Answer::Refused), Ok(Verdict::Ending));
    let served = Answer::Served("ada".to_owned());
    assert_eq!(model.judge("ada", at(2001), at(2010), &served), Err(Wrong::EndedServed(at(1001))));
}

/// What may be wrong with a fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// The other replica hears of an end too late.
    HearsLate,
    /// The other replica never hears of an end.
    NeverHears,
    /// A replica that is killed takes its sessions along.
    LosesAtKill,
    /// A sign-out ends the session of the next person too.
    EndsNeighbour,
    /// Now and then somebody is served as somebody else.
    Mixes,
}

/// Two replicas, a hundred people, a request every 10 ms to each in turn; every tenth person signs out at the first replica,
/// which is killed once. The verdicts, or what was wrong first.
fn run(fault: Fault) -> Result<BTreeMap<Verdict, usize>, Wrong> {
    let person = |number: u64| format!("person-{number}");
    let mut model = Model::default();
    (0..100).for_each(|number| model.begin(&person(number)));
    let mut ended = BTreeMap::new();
    let mut verdicts = BTreeMap::new();
    for step in 0..2000 {
        let now = at(step * 10);
        let number = step * 7 % 100;
        if step % 100 == 50 {
            let out = step / 100 * 10 % 100;
            model.ends(&person(out), now);
            ended.entry(out).or_insert(now);
            if fault == Fault::EndsNeighbour {
                ended.entry(out + 1).or_insert(now);
            }
            model.ended(&person(out), now + at(5));
        }
        let first = step / 100 % 2 == 0;
        let delay = match fault {
            _ if first => Duration::ZERO,
            Fault::NeverHears => Duration::MAX,
            Fault::HearsLate => BOUND * 2,
            _ => BOUND / 2,
        };
        let over = ended.get(&number).is_some_and(|end| end.saturating_add(delay) <= now);
        let lost = fault == Fault::LosesAtKill && first && now > at(10_000) && number % 2 == 0;
        let answer = match fault {
            _ if over || lost => Answer::Refused,
            Fault::Mixes if step == 1501 => Answer::Served(person(number + 1)),
            _ => Answer::Served(person(number)),
        };
        *verdicts.entry(model.judge(&person(number), now, now + at(8), &answer)?).or_default() += 1;
    }
    Ok(verdicts)
}

#[test]
fn a_sound_fleet_passes_and_shows_every_kind_of_answer() {
    let verdicts = run(Fault::None).expect("nothing is wrong");
    assert!([Verdict::Live, Verdict::Ending, Verdict::Ended].iter().all(|kind| verdicts[kind] > 0), "{verdicts:?}");
}

#[test]
fn no_broken_fleet_passes() {
    for (fault, wrong) in [
        (Fault::HearsLate, "EndedServed"),
        (Fault::NeverHears, "EndedServed"),
        (Fault::LosesAtKill, "LiveRefused"),
        (Fault::EndsNeighbour, "LiveRefused"),
        (Fault::Mixes, "Another"),
    ] {
        let found = run(fault).expect_err("it is broken");
        assert!(format!("{found:?}").starts_with(wrong), "{fault:?}: {found:?}");
    }
}
