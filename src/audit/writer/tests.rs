use super::*;
use crate::audit::Kind;
use crate::identity::{Identity, Issuer, Subject, Told};

struct Lines(mpsc::Sender<Vec<u8>>);

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.send(text.to_vec()).map_err(io::Error::other)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A disk with room for so many bytes, and after so many refusals for all.
struct Full {
    room: usize,
    refusals: usize,
    lines: Lines,
}

impl Write for Full {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.refusals == 0 {
            return self.lines.write(text);
        }
        if self.room == 0 {
            self.refusals -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let fits = self.lines.write(&text[..text.len().min(self.room)])?;
        self.room -= fits;
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Accepts nothing until the test lets go of it.
struct Stuck(mpsc::Receiver<()>);

impl Write for Stuck {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn clock() -> Clock {
    Clock::manual("2026-01-02T03:04:05Z".parse().unwrap())
}

fn event(identity: &Told) -> Event<'_> {
    Event {
        kind: Kind::AuthorizationAllowed,
        reason: "rule_allows",
        rule: Some("shop/backoffice:staff"),
        subject: Some(identity),
        method: "GET",
        host: "shop.example.com",
        path: "/reports\u{1b}[2K\u{2028}",
        ingress: Some("shop/backoffice"),
        peer: Some("192.0.2.7".parse().unwrap()),
        generation: 7,
    }
}

fn identity() -> Told {
    Identity { issuer: Issuer("https://op.example.com".into()), subject: Subject("al\"ice".into()) }.told()
}

fn written(lines: &mpsc::Receiver<Vec<u8>>) -> Vec<serde_json::Value> {
    let text = lines.iter().flatten().collect::<Vec<_>>();
    String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_request_leaves_its_decision_and_its_outcome() {
    let (sender, lines) = mpsc::channel();
    let clock = clock();
    let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock.clone()).unwrap();
    let identity = identity();
    let mut outcome = audit.reserve(RequestId(0xabc)).unwrap().decided(event(&identity));
    clock.advance(jiff::SignedDuration::from_millis(3));
    outcome.note(|outcome| outcome.status = 200);
    drop(outcome);
    drop(audit);
    let lines = written(&lines);
    assert_eq!(
        lines[0],
        serde_json::json!({
            "v": 1, "boot": "00000000000000000000000000000001", "seq": 0, "ts": "2026-01-02T03:04:05.000000Z", "mono_ns": 1_767_323_045_000_000_000_u64,
            "id": "00000000000000000000000000000abc", "kind": "AuthorizationAllowed", "reason": "rule_allows",
            "rule": "shop/backoffice:staff", "subject": {"iss": "https://op.example.com", "sub": "al\"ice"}, "method": "GET",
            "host": "shop.example.com", "path": "/reports\u{1b}[2K\u{2028}", "ingress": "shop/backoffice", "peer": "192.0.2.7",
            "generation": 7
        })
    );
    assert_eq!(lines[1]["kind"], "Outcome");
    assert_eq!(
        (&lines[1]["of"], &lines[1]["status"], &lines[1]["duration_us"]),
        (&0.into(), &200.into(), &3000.into())
    );
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_slot_dropped_unspent_says_so_and_frees_its_place() {
    let (sender, lines) = mpsc::channel();
    let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock()).unwrap();
    drop(audit.reserve(RequestId(2)));
    let ring = Arc::clone(&audit.handle.ring);
    drop(audit);
    assert_eq!(written(&lines).iter().map(|line| line["kind"].clone()).collect::<Vec<_>>(), ["Abandoned"]);
    assert_eq!(ring.taken.load(Ordering::Relaxed), 0);
}

#[test]
fn a_stuck_sink_closes_the_door_when_the_ring_is_full_and_opens_it_again() {
    let (release, gate) = mpsc::channel();
    let audit = Audit::with_sink(Box::new(Stuck(gate)), RequestId(1), clock()).unwrap();
    let identity = identity();
    let mut kept = Vec::new();
    while let Some(slot) = audit.reserve(RequestId(3)) {
        kept.push(slot.decided(event(&identity)));
    }
    assert_eq!(kept.len(), PLACES);
    kept.clear();
    assert!(audit.reserve(RequestId(4)).is_none());
    drop(release);
    let ring = Arc::clone(&audit.handle.ring);
    drop(audit);
    assert_eq!(ring.taken.load(Ordering::Relaxed), 0);
}

#[test]
fn a_full_disk_costs_no_line_and_tears_none() {
    let (lines, written) = mpsc::channel();
    let disk = Full { room: 100, refusals: 3, lines: Lines(lines) };
    let audit = Audit::with_sink(Box::new(disk), RequestId(1), clock()).unwrap();
    let identity = identity();
    for id in 0..100 {
        drop(audit.reserve(RequestId(id)).unwrap().decided(event(&identity)));
    }
    let ring = Arc::clone(&audit.handle.ring);
    drop(audit);
    let text = written.iter().flatten().collect::<Vec<_>>();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let sequence: Vec<_> =
        lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap()["seq"].as_u64()).collect();
    assert_eq!(sequence, (0..200).map(Some).collect::<Vec<_>>());
    assert_eq!(ring.taken.load(Ordering::Relaxed), 0);
}

#[test]
fn outcomes_that_are_owed_hold_no_place() {
    let audit = Audit::with_sink(Box::new(io::sink()), RequestId(1), clock()).unwrap();
    let identity = identity();
    let mut owed = Vec::new();
    while owed.len() <= PLACES {
        match audit.reserve(RequestId(6)) {
            Some(slot) => owed.push(slot.decided(event(&identity))),
            None => thread::yield_now(),
        }
    }
    let ring = Arc::clone(&audit.handle.ring);
    drop(owed);
    drop(audit);
    assert_eq!((ring.taken.load(Ordering::Relaxed), ring.lock().seq), (0, 2 * (PLACES as u64 + 1)));
}

#[test]
fn a_batch_has_a_largest_size_and_gives_its_memory_back() {
    let (release, gate) = mpsc::channel();
    let audit = Audit::with_sink(Box::new(Stuck(gate)), RequestId(1), clock()).unwrap();
    let identity = identity();
    let ring = Arc::clone(&audit.handle.ring);
    let decide = || audit.reserve(RequestId(7)).map(|slot| drop(slot.decided(event(&identity))));
    decide();
    while !ring.lock().lines.is_empty() {
        thread::yield_now();
    }
    // One batch is with the writer now, the next one fills.
    ring.lock().lines = vec![b'x'; BATCH - 1];
    assert_eq!((decide(), decide()), (Some(()), None));
    drop(release);
    drop(audit);
    assert!(ring.take() && ring.lock().lines.capacity() <= KEPT);
}

#[test]
fn a_panic_leaves_the_status_that_the_client_gets() {
    // Before any head was sent, and after one.
    for (sent, told) in [(0, 500), (200, 200)] {
        let (sender, lines) = mpsc::channel();
        let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock()).unwrap();
        let of_request = audit.clone();
        let request = thread::spawn(move || {
            let mut outcome = of_request.reserve(RequestId(8)).unwrap().decided(event(&identity()));
            outcome.note(|outcome| outcome.status = sent);
            panic!("a bug");
        });
        assert!(request.join().is_err());
        drop(audit);
        let outcome = &written(&lines)[1];
        assert_eq!((&outcome["status"], &outcome["complete"]), (&told.into(), &false.into()));
    }
}

#[test]
fn a_sink_that_takes_nothing_does_not_keep_the_process() {
    let (_kept_shut, gate) = mpsc::channel();
    let stuck = Box::new(Stuck(gate));
    let audit = Audit::lasting(stuck, RequestId(1), clock(), Duration::from_millis(1)).unwrap();
    drop(audit.reserve(RequestId(2)));
    let ring = Arc::clone(&audit.handle.ring);
    drop(audit);
    assert_eq!(ring.taken.load(Ordering::Relaxed), 1);
}

#[test]
fn control_characters_never_break_a_line() {
    let (sender, lines) = mpsc::channel();
    let audit = Audit::with_sink(Box::new(Lines(sender)), RequestId(1), clock()).unwrap();
    let identity = identity();
    let hostile = Event { path: "/a\r\n{\"kind\":\"forged\"}\n\u{1b}]0;x\u{7}", ..event(&identity) };
    drop(audit.reserve(RequestId(5)).unwrap().decided(hostile));
    drop(audit);
    let text = lines.iter().flatten().collect::<Vec<u8>>();
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(text.iter().all(|byte| *byte >= 0x20 || *byte == b'\n'));
}
