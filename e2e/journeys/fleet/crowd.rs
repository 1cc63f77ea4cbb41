//! The people at the fleet, what they do, and how each of their answers is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::clock::Clock;
use tokio::time::sleep;

use super::model::{Answer, BOUND, Model, Verdict, Wrong};
use crate::support::app::Received;
use crate::support::balancer::Balancer;
use crate::support::bed::Bed;
use crate::support::client::{self, Ask, Client};
use crate::support::eventually::{PAUSE, ran};
use crate::support::provider::{Provider, TEAM, login};
use crate::support::replicas::ADDRESSES;
use crate::support::scene::APP;

/// In milliseconds, how much later than the provider took a refresh token a replica is killed that was still to store what
/// it got for it. It may be earlier: its request was on the way then.
const IN_FLIGHT: Range<i64> = -1500..2500;

/// How often somebody tries again where a replica is down.
const TRIES: usize = 50;

/// Everybody, and what is known of them.
pub struct Crowd {
    pub provider: Provider,
    pub signed_in: AtomicUsize,
    pub signed_out: AtomicUsize,
    pub revoked: AtomicUsize,
    /// Connections that ended with a replica.
    pub broken: AtomicUsize,
    /// Sessions whose refreshed tokens ended with a replica.
    pub lost: AtomicUsize,
    balancer: Balancer,
    nobody: Client,
    sign_ins: usize,
    next: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    model: Model,
    browsers: BTreeMap<String, Arc<Client>>,
    verdicts: BTreeMap<Verdict, usize>,
    /// Whose sign-in is over, well or not.
    settled: BTreeSet<usize>,
    downs: Vec<Down>,
}

/// A time in which a replica did not answer.
struct Down {
    replica: usize,
    /// When it was killed, in milliseconds of the system's clock.
    killed: i64,
    until: Option<Duration>,
}

impl Crowd {
    pub fn new(bed: &Bed, provider: Provider, balancer: Balancer, sign_ins: usize) -> Self {
        Self {
            provider,
            signed_in: AtomicUsize::default(),
            signed_out: AtomicUsize::default(),
            revoked: AtomicUsize::default(),
            broken: AtomicUsize::default(),
            lost: AtomicUsize::default(),
            balancer,
            nobody: Client::new(&bed.authority),
            sign_ins,
            next: AtomicUsize::default(),
            known: Mutex::default(),
        }
    }

    /// Signs in as one after another until there are enough, and meanwhile uses and ends sessions; uses them on until enough
    /// replicas were killed. `place` is where it calls from.
    pub async fn come_and_go(self: Arc<Self>, place: usize) {
        let own = address(place);
        for round in 0.. {
            let enough = self.signed_in.load(Ordering::Relaxed) >= self.sign_ins;
            if enough && self.known().downs.len() > super::KILLS {
                return;
            }
            if !enough {
                self.sign_in(own, self.next.fetch_add(1, Ordering::Relaxed)).await;
            }
            for _ in 0..4 {
                if let Some(person) = self.anybody() {
                    self.ask(own, &person).await;
                }
            }
            if !enough
                && round % 6 == 5
                && let Some(person) = self.anybody_live()
            {
                self.sign_out(own, &person).await;
            }
        }
    }

    /// Asks for its share of all sessions, live or not, once.
    pub async fn ask_everybody(self: Arc<Self>, place: usize) {
        let people: Vec<_> = self.known().browsers.keys().skip(place).step_by(super::AT_ONCE).cloned().collect();
        for person in people {
            self.ask(address(place), &person).await;
        }
    }

    /// A replica is about to be killed.
    pub fn goes_down(&self, replica: usize) {
        let down = Down { replica, killed: Clock::system().now().as_millisecond(), until: None };
        self.known().downs.push(down);
    }

    /// It serves again.
    pub fn is_up(&self, replica: usize) {
        let now = self.now();
        let mut known = self.known();
        let down = known.downs.last_mut().expect("it went down");
        assert_eq!(down.replica, replica);
        down.until = Some(now);
    }

    /// How many teams will be complete.
    pub fn teams(&self) -> usize {
        self.sign_ins / TEAM
    }

    /// Whether everybody of a team has tried to sign in.
    pub fn is_complete(&self, team: usize) -> bool {
        let known = self.known();
        (team * TEAM..(team + 1) * TEAM).all(|number| known.settled.contains(&number))
    }

    /// Those of some people who have a session, whose end is about to be asked for.
    pub fn end_of(&self, people: Range<usize>) -> Vec<String> {
        let now = self.now();
        let mut known = self.known();
        let members: Vec<_> = people.map(login).filter(|person| known.browsers.contains_key(person)).collect();
        members.iter().for_each(|person| known.model.ends(person, now));
        members
    }

    /// The end of their sessions was confirmed.
    pub fn ended(&self, people: &[String]) {
        let now = self.now();
        let mut known = self.known();
        people.iter().for_each(|person| known.model.ended(person, now));
    }

    /// Asks with ended sessions as soon as they must be refused, twice, so that both replicas are asked.
    pub async fn find_ended(&self, own: Ipv4Addr, people: &[String]) {
        let ended = self.now();
        while self.now() <= ended + BOUND {
            sleep(PAUSE).await;
        }
        for person in people {
            for _ in ADDRESSES {
                self.ask(own, person).await;
            }
        }
    }

    /// How often each right answer was given.
    pub fn verdicts(&self) -> BTreeMap<Verdict, usize> {
        self.known().verdicts.clone()
    }

    async fn sign_in(&self, own: Ipv4Addr, number: usize) {
        let person = login(number);
        let browser = self.nobody.fresh().from(own);
        let from = self.now();
        match browser.try_sign_in(APP, &person).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200, "{person} signs in: {}", answer.text());
                let mut known = self.known();
                known.model.begin(&person);
                known.browsers.insert(person, Arc::new(browser));
                self.signed_in.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => self.excuse(own, from, &error),
        }
        self.known().settled.insert(number);
    }

    async fn sign_out(&self, own: Ipv4Addr, person: &str) {
        let now = self.now();
        self.known().model.ends(person, now);
        let answer = self.insist(own, person, &Ask::post(&format!("{APP}/.portcullis/logout"), "")).await.2;
        assert_eq!(answer.status, 303, "{person} signs out: {}", answer.text());
        let people = [person.to_owned()];
        self.ended(&people);
        self.signed_out.fetch_add(1, Ordering::Relaxed);
        self.find_ended(own, &people).await;
    }

    /// Asks for the app with a session, and judges the answer.
    async fn ask(&self, own: Ipv4Addr, person: &str) {
        let (sent, answered, answer) = self.insist(own, person, &Ask::get(APP)).await;
        let answer = match answer.status {
            200 => Answer::Served(user(&answer)),
            401 => Answer::Refused,
            status => panic!("{person} is answered {status}: {}", answer.text()),
        };
        let verdict = self.judge(person, sent, answered, &answer);
        let verdict = match verdict {
            Err(Wrong::LiveRefused) if self.is_lost(person).await => {
                self.known().model.lost(person, answered);
                self.lost.fetch_add(1, Ordering::Relaxed);
                self.judge(person, sent, answered, &answer)
            }
            _ => verdict,
        };
        let verdict = verdict.unwrap_or_else(|wrong| panic!("{person}, asked at {sent:?}: {wrong:?}"));
        *self.known().verdicts.entry(verdict).or_default() += 1;
    }

    fn judge(&self, person: &str, sent: Duration, answered: Duration, answer: &Answer) -> Result<Verdict, Wrong> {
        self.known().model.judge(person, sent, answered, answer)
    }

    /// Whether the provider ended the session, since it had answered a refresh to a replica that was killed before it could
    /// store that.
    async fn is_lost(&self, person: &str) -> bool {
        let reused = self.provider.reused().await;
        let mut firsts = reused.iter().filter(|token| token.account == person).map(|token| token.first);
        let known = self.known();
        firsts.any(|first| known.downs.iter().any(|down| IN_FLIGHT.contains(&(down.killed - first))))
    }

    /// Sends a request until it is answered; when it was sent and answered.
    async fn insist(&self, own: Ipv4Addr, person: &str, ask: &Ask) -> (Duration, Duration, client::Answer) {
        let browser = self.known().browsers[person].from(own);
        for _ in 0..TRIES {
            let sent = self.now();
            match browser.try_send(ask.clone()).await {
                Ok(answer) => return (sent, self.now(), answer),
                Err(error) => self.excuse(own, sent, &error),
            }
        }
        panic!("{person} is not answered in {TRIES} tries")
    }

    /// A connection may break with the replica that it was led to, and with nothing else.
    fn excuse(&self, own: Ipv4Addr, from: Duration, error: &io::Error) {
        let led = self.balancer.led(own.into()).map(|target| target.ip().to_string());
        let down = |down: &Down| {
            Some(ADDRESSES[down.replica]) == led.as_deref() && down.until.is_none_or(|until| until >= from)
        };
        let excused = error.to_string().starts_with(APP) && self.known().downs.iter().any(down);
        assert!(excused, "a connection to {led:?}, which runs, broke: {error}");
        self.broken.fetch_add(1, Ordering::Relaxed);
    }

    fn anybody(&self) -> Option<String> {
        let known = self.known();
        let count = known.browsers.len();
        let chosen = (count > 0).then(|| rand::random_range(0..count))?;
        known.browsers.keys().nth(chosen).cloned()
    }

    fn anybody_live(&self) -> Option<String> {
        let mut live = self.known().model.live();
        (!live.is_empty()).then(|| live.swap_remove(rand::random_range(0..live.len())))
    }

    fn now(&self) -> Duration {
        ran()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("whoever panics ends the run")
    }
}

/// Each place of the crowd calls from an address of its own, by which the balancer tells where it was led.
pub fn address(place: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1, 0, u8::try_from(place + 1).expect("few places"))
}

/// As whom a request reached the app.
fn user(answer: &client::Answer) -> String {
    let received: Received = serde_json::from_slice(&answer.body).expect("the app's own words");
    received.fields.get("x-auth-request-user").cloned().unwrap_or_default()
}
