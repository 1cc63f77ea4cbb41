//! The audit sink takes nothing while people work: a pipe that nobody reads, then a disk that is full. When no more can be
//! kept in mind every door closes; when the sink takes lines again the doors open, and each answer that was given has its
//! line, whole and in order.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use crate::support::bed::Bed;
use crate::support::client::{Ask, Client};
use crate::support::eventually::{PAUSE, SOON, eventually};
use crate::support::portcullis::Portcullis;
use crate::support::program::output;
use crate::support::provider::STAFF;
use crate::support::scene::{APP, Scene};

/// So many press in at once, without a session, and ask for paths of so many bytes, which the trail has to keep.
const CROWD: usize = 8;
const LONG: usize = 7_000;

/// So often in a row each is refused before all is taken to be closed: several of the writer's attempts.
const REFUSED: usize = 40;

/// So many work, here.
const PEOPLE: usize = 3;
const WORK: &str = "https://app.localhost:8443/work";

pub async fn journey(bed: &Bed) {
    let mut scene = Scene::open(bed, "audit-sink", 300).await;
    scene.publish_for_staff().await;
    scene.portcullis.stop().await;

    let (folder, audit) = sink(&scene.folder, "pipe");
    output(Command::new("mkfifo").arg(&audit));
    let nobody_reads = File::options().read(true).write(true).open(&audit).expect("the pipe is there");
    scene.portcullis = Portcullis::start(&folder, &bed.cluster.portcullis, &bed.authority);
    scene.portcullis.ready().await;
    let busy = Busy::until_all_is_closed(&scene).await;
    let pipe = File::open(&audit).expect("the pipe is there");
    drop(nobody_reads);
    let read = std::thread::spawn(move || lines(pipe));
    let done = busy.goes_on(&scene).await;
    scene.portcullis.stop().await;
    each_has_its_line(&read.join().expect("the pipe can be read"), done);

    let (folder, audit) = sink(&scene.folder, "full");
    let disk = folder.join("disk");
    fs::create_dir_all(&disk).expect("the folder can be made");
    symlink(disk.join("audit.jsonl"), &audit).expect("the folder is there");
    mount("size=64k", &disk);
    scene.portcullis = Portcullis::start(&folder, &bed.cluster.portcullis, &bed.authority);
    scene.portcullis.ready().await;
    let busy = Busy::until_all_is_closed(&scene).await;
    mount("remount,size=1g", &disk);
    let done = busy.goes_on(&scene).await;
    scene.portcullis.stop().await;
    each_has_its_line(&lines(File::open(&audit).expect("it was written")), done);
    output(Command::new("umount").arg(&disk));
}

/// A folder for the program's files, and where its trail is in it.
fn sink(journey: &Path, name: &str) -> (PathBuf, PathBuf) {
    let folder = journey.join(name);
    fs::create_dir_all(&folder).expect("the folder can be made");
    let audit = folder.join("audit.jsonl");
    (folder, audit)
}

/// In the mount namespace of the journeys.
fn mount(options: &str, disk: &Path) {
    output(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(disk));
}

/// What was answered, other than that nothing can be recorded: to the crowd, and to people at work.
#[derive(Clone, Copy)]
struct Done {
    crowd: usize,
    work: usize,
}

/// People at work.
struct Busy {
    over: Arc<AtomicBool>,
    people: Vec<JoinHandle<usize>>,
    person: Client,
    crowd: usize,
}

impl Busy {
    /// People work, and a crowd presses in until there is no answer for anybody.
    async fn until_all_is_closed(scene: &Scene<'_>) -> Self {
        let (over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut people = Vec::new();
        for _ in 0..PEOPLE {
            let person = scene.signed_in(APP, &STAFF).await;
            people.push(tokio::spawn(work(person, Arc::clone(&over), Arc::clone(&refused))));
        }
        let person = scene.signed_in(APP, &STAFF).await;
        let pressing: Vec<_> = (0..CROWD).map(|_| tokio::spawn(press(scene.visitor()))).collect();
        let mut crowd = 0;
        for one in pressing {
            crowd += one.await.expect("each is answered");
        }
        eventually("a refusal for each at work", SOON, async || {
            (refused.load(Ordering::Relaxed) == PEOPLE).then_some(())
        })
        .await;
        let stranger = scene.visitor().send(Ask::get(APP).navigating()).await;
        assert_eq!(stranger.status, 503, "{}", stranger.text());
        let received = scene.app.received().len();
        let refused = person.send(Ask::get(APP)).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
        assert_eq!(scene.app.received().len(), received, "nothing reaches the app");
        Self { over, people, person, crowd }
    }

    /// Once the sink takes lines again, everybody goes on with the session that they had.
    async fn goes_on(self, scene: &Scene<'_>) -> Done {
        self.person.comes_to(APP, 200).await;
        assert_eq!(scene.visitor().sign_in(APP, &STAFF).await.status, 200);
        self.over.store(true, Ordering::Relaxed);
        let mut work = 0;
        for person in self.people {
            work += person.await.expect("each was answered or told to come back");
        }
        Done { crowd: self.crowd, work }
    }
}

/// Asks over one connection until nothing can be recorded any more, however slow the writer is; how often there was
/// another answer.
async fn press(visitor: Client) -> usize {
    let long: Ask = Ask::get(&format!("{APP}/{}", "x".repeat(LONG)));
    let mut connection = visitor.connect(&APP.parse().expect("an address")).await.expect("it connects");
    let (mut answered, mut refused) = (0, 0);
    while refused < REFUSED {
        match connection.send(long.clone()).await.expect("it is answered").status {
            401 => (answered, refused) = (answered + 1, 0),
            status => {
                assert_eq!(status, 503);
                refused += 1;
                sleep(PAUSE).await;
            }
        }
    }
    answered
}

/// Asks ten times a second until told to stop; how often that was passed on. The first time that it was not is counted.
async fn work(person: Client, over: Arc<AtomicBool>, refused: Arc<AtomicUsize>) -> usize {
    let mut tick = interval(Duration::from_millis(100));
    let (mut passed, mut was_refused) = (0, false);
    while !over.load(Ordering::Relaxed) {
        tick.tick().await;
        let answer = person.send(Ask::get(WORK)).await;
        match answer.status {
            200 => passed += 1,
            status => {
                assert_eq!(status, 503, "{}", answer.text());
                if !std::mem::replace(&mut was_refused, true) {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
    passed
}

fn lines(sink: File) -> Vec<Value> {
    let lines = BufReader::new(sink).lines().map(|line| line.expect("text"));
    lines.map(|line| serde_json::from_str(&line).expect("each line is whole")).collect()
}

fn each_has_its_line(trail: &[Value], done: Done) {
    for (seq, line) in trail.iter().enumerate() {
        assert_eq!(line["seq"], seq, "no line is missing: {line}");
    }
    let decisions = || trail.iter().filter(|line| line["kind"] != "Outcome");
    let path = |line: &Value| line["path"].as_str().map(str::to_owned).unwrap_or_default();
    assert_eq!(decisions().count() * 2, trail.len(), "each decision has its outcome");
    assert_eq!(decisions().filter(|line| path(line).len() > LONG).count(), done.crowd);
    let work = decisions().filter(|line| path(line) == "/work" && line["reason"] == "rule_allows");
    assert_eq!(work.count(), done.work);
    assert!(done.crowd > CROWD && done.work > 0, "{} and {}", done.crowd, done.work);
}
