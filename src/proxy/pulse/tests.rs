use super::*;

fn limits() -> Limits {
    let (head_deadline, idle, stalled) = (Duration::from_secs(10), Duration::from_secs(60), Duration::from_secs(30));
    Limits { head_deadline, idle, stalled, ..Limits::default() }
}

/// What is due this many seconds after the start of a connection that did this.
fn verdict(heads: bool, at: u64, happened: impl FnOnce(&Rc<Pulse>)) -> Verdict {
    let mut pulse = Pulse::new(heads, 1024, Places::new(0), Deadlines::default());
    happened(&pulse);
    let start = Instant::now().checked_sub(Duration::from_secs(at)).unwrap();
    // The past is made by a start that lies further back.
    Rc::get_mut(&mut pulse).expect("nothing keeps it").start = start;
    pulse.check(&limits())
}

#[test]
fn a_connection_with_many_requests_leaves_half_of_the_places() {
    let places = Places::new(64);
    let granted = || {
        let pulse = Pulse::new(false, 1024, places.clone(), Deadlines::default());
        let active: Vec<_> = (0..100).map(|_| pulse.begin()).take_while(Active::is_granted).collect();
        (active.len(), active)
    };
    let ((hoarder, hoarded), (neighbour, _kept)) = (granted(), granted());
    assert_eq!((hoarder, neighbour), (1 + 32, 1 + 15));
    drop(hoarded);
    assert_eq!(granted().0, 1 + 17);
}

fn is_alive(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::AliveUntil(_))
}

#[test]
fn a_connection_without_a_request_is_idle_in_the_end() {
    assert!(is_alive(verdict(true, 59, |_| ())));
    assert_eq!(verdict(true, 61, |_| ()), Verdict::Idle);
    assert_eq!(verdict(false, 61, |pulse| pulse.read()), Verdict::Idle);
}

#[test]
fn a_head_that_does_not_end_is_stuck() {
    assert!(is_alive(verdict(true, 9, |pulse| pulse.read())));
    assert_eq!(verdict(true, 11, |pulse| pulse.read()), Verdict::Stuck);
}

#[test]
fn a_request_at_work_is_neither_idle_nor_stuck() {
    let working = verdict(true, 3600, |pulse| {
        pulse.read();
        pulse.active.set(1);
        pulse.head_since.set(0);
        pulse.read();
    });
    assert!(is_alive(working));
}

#[test]
fn bytes_that_nobody_takes_are_stuck() {
    let blocked = |pulse: &Rc<Pulse>| {
        pulse.active.set(1);
        pulse.wrote(Poll::Pending);
        pulse.wrote(Poll::Pending);
    };
    assert!(is_alive(verdict(true, 29, blocked)));
    assert_eq!(verdict(true, 31, blocked), Verdict::Stuck);
    let taken = verdict(true, 31, |pulse| {
        blocked(pulse);
        pulse.wrote(Poll::Ready(1));
    });
    assert!(is_alive(taken));
}

#[test]
fn bytes_that_are_taken_too_slowly_are_stuck_earlier() {
    let owing = |earned: usize| {
        move |pulse: &Rc<Pulse>| {
            pulse.debt.set(25_000);
            pulse.wrote(Poll::Ready(earned));
            pulse.wrote(Poll::Pending);
        }
    };
    assert!(is_alive(verdict(false, 4, owing(0))));
    assert_eq!(verdict(false, 6, owing(0)), Verdict::Stuck);
    assert!(is_alive(verdict(false, 14, owing(10 * 1024))));
    assert_eq!(verdict(false, 16, owing(10 * 1024)), Verdict::Stuck);
    assert!(is_alive(verdict(false, 29, owing(1024 * 1024))));
}

#[test]
fn what_is_withheld_though_it_could_be_written_is_stuck_in_the_end() {
    let withheld = |pulse: &Rc<Pulse>| {
        pulse.active.set(1);
        pulse.handed_over();
        pulse.handed_over();
        pulse.let_go();
        pulse.drained(true);
    };
    assert!(is_alive(verdict(false, 59, withheld)));
    assert_eq!(verdict(false, 61, withheld), Verdict::Stuck);
    let written = |pulse: &Rc<Pulse>| {
        withheld(pulse);
        pulse.let_go();
        pulse.drained(true);
    };
    assert!(is_alive(verdict(false, 61, written)));
    let blocked = |pulse: &Rc<Pulse>| {
        withheld(pulse);
        pulse.drained(false);
    };
    assert!(is_alive(verdict(false, 61, blocked)));
}

#[test]
fn the_timer_wakes_within_the_shortest_deadline() {
    let Verdict::AliveUntil(at) = verdict(true, 1, |_| ()) else { panic!("alive") };
    assert!(at <= Instant::now() + Duration::from_secs(10));
}
