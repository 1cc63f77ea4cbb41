//! The folder source: ordinary Kubernetes YAML, followed as `run` follows the API server.
//!
//! A change of any file reads the whole folder again. A file that is broken is said with line and column, and its objects
//! stay as they were last good; where there is no last good version, what can be named is held as undecodable, so that
//! whatever depends on it is closed. Nothing is ever written into the folder.

mod document;
mod object;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::Batch;
use super::complaint::{Complaint, Pages, Place};
use super::endpoints::Guard;
use super::report::{ObjectRef, Severity};
use super::world::{Change, Keeper, World};
use document::{Document, NoYaml};
use object::{Object, Outcome};

/// How long a burst of file events may last before the folder is read: an editor saves in several steps.
const SETTLE: Duration = Duration::from_millis(30);

/// How often a folder is looked at where the system tells nothing.
const POLL: Duration = Duration::from_secs(1);

/// The largest file that is read, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A source of objects in YAML text.
#[derive(Clone, Debug)]
pub struct Folder {
    files: Files,
    /// Texts of objects that count where the files have none of that kind and name.
    beneath: Vec<(Arc<str>, String)>,
}

#[derive(Clone, Debug)]
enum Files {
    Directory(PathBuf),
    Embedded(BTreeMap<Arc<str>, String>),
}

/// The texts of a folder by file name, or why one cannot be read.
type Texts = BTreeMap<Arc<str>, io::Result<String>>;

/// What tells that files may have changed.
enum Wake {
    /// The system tells; dropping the watcher ends it.
    Told { events: mpsc::Receiver<()>, _watcher: RecommendedWatcher },
    /// It cannot, so the folder is looked at now and then.
    Poll,
    /// Embedded texts never change.
    Never,
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    /// The objects of each file, as last good.
    files: BTreeMap<Arc<str>, Vec<Object>>,
    /// The objects beneath the files.
    beneath: Vec<Object>,
    /// The objects that the controller has.
    held: BTreeMap<ObjectRef, Object>,
    /// What it knows beside them.
    pages: Arc<Pages>,
}

impl Folder {
    /// A folder on disk; an error where it is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)?;
        Ok(Self { files: Files::Directory(path.to_owned()), beneath: Vec::new() })
    }

    /// One file, as it is now.
    pub fn file(path: &Path) -> io::Result<Self> {
        Ok(Self::embedded(&[(&path.display().to_string(), &read_file(path)?)]))
    }

    /// The same files over others that never change: an object there counts where the files have none of its kind and name.
    #[must_use]
    pub fn over(mut self, files: &[(&str, &str)]) -> Self {
        self.beneath.extend(files.iter().map(|(name, text)| (Arc::from(*name), (*text).to_owned())));
        self
    }

    /// Texts that never change, by file name.
    pub fn embedded(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(name, text)| (Arc::from(*name), (*text).to_owned())).collect();
        Self { files: Files::Embedded(files), beneath: Vec::new() }
    }

    /// The world of this moment, for who wants no changes, and what is wrong with the files.
    pub fn world(&self, guard: Guard) -> (Arc<World>, Arc<Pages>) {
        let mut reading = Reading::over(&self.beneath);
        let mut keeper = Keeper::new(guard);
        for change in reading.update(self.files.read()) {
            keeper.apply(change);
        }
        (Arc::clone(keeper.world()), reading.pages)
    }

    /// Sends the objects, then every change of them, until nobody listens.
    pub(super) async fn follow(self, batches: mpsc::Sender<Batch>) {
        let mut wake = self.files.watch();
        let mut reading = Reading::over(&self.beneath);
        let mut first_list = true;
        loop {
            let former = Arc::clone(&reading.pages);
            let changes = reading.update(self.files.read());
            if first_list || !changes.is_empty() || former != reading.pages {
                let batch = Batch { changes, first_list, pages: Some(Arc::clone(&reading.pages)) };
                if batches.send(batch).await.is_err() {
                    return;
                }
                first_list = false;
            }
            tokio::select! {
                () = batches.closed() => return,
                () = wake.next() => {}
            }
        }
    }
}

impl Wake {
    async fn next(&mut self) {
        match self {
            Self::Told { events, .. } => {
                if events.recv().await.is_none() {
                    std::future::pending().await
                }
                tokio::time::sleep(SETTLE).await;
                while events.try_recv().is_ok() {}
            }
            Self::Poll => tokio::time::sleep(POLL).await,
            Self::Never => std::future::pending().await,
        }
    }

    /// Asks the system to tell of changes under `path`.
    fn told(path: &Path) -> notify::Result<Self> {
        let (sender, events) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                // A full channel says already what there is to say.
                let _ = sender.try_send(());
            }
        })?;
        watcher.watch(path, RecursiveMode::Recursive)?;
        Ok(Self::Told { events, _watcher: watcher })
    }
}

impl Files {
    fn watch(&self) -> Wake {
        match self {
            Self::Directory(path) => Wake::told(path).unwrap_or(Wake::Poll),
            Self::Embedded(_) => Wake::Never,
        }
    }

    fn read(&self) -> io::Result<Texts> {
        let mut texts = Texts::new();
        match self {
            Self::Directory(path) => read_folder(path, path, &mut texts)?,
            Self::Embedded(files) => {
                texts.extend(files.iter().map(|(name, text)| (Arc::clone(name), Ok(text.clone()))));
            }
        }
        Ok(texts)
    }
}

/// Reads `*.yaml`, `*.yml` and `*.json` under a folder; hidden files and folders are nobody's YAML.
fn read_folder(root: &Path, folder: &Path, texts: &mut Texts) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str());
        if hidden {
            continue;
        } else if path.is_dir() {
            read_folder(root, &path, texts)?;
        } else if matches!(extension, Some("yaml" | "yml" | "json")) {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            texts.insert(name.into(), read_file(&path));
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> io::Result<String> {
    if fs::metadata(path)?.len() > FILE_BYTES {
        return Err(io::Error::other(format!("it is larger than {} MiB", FILE_BYTES >> 20)));
    }
    fs::read_to_string(path)
}

impl Reading {
    fn over(beneath: &[(Arc<str>, String)]) -> Self {
        let read = beneath.iter().map(|(file, text)| FileRead::new(file, Ok(text.clone())));
        Self { beneath: read.flat_map(|file| file.objects).collect(), ..Self::default() }
    }

    /// Takes the texts of now; gives what changed of the objects.
    fn update(&mut self, texts: io::Result<Texts>) -> Vec<Change> {
        let mut complaints = Vec::new();
        match texts {
            Ok(texts) => self.read_all(texts, &mut complaints),
            Err(error) => complaints.push(Complaint {
                place: None,
                severity: Severity::Error,
                object: None,
                field: String::new(),
                message: format!("the folder cannot be read: {error}"),
                remedy: "make it readable; until then what was read last stays in force".to_owned(),
            }),
        }
        let now = self.merged(&mut complaints);
        let changes = changes(&self.held, &now);
        let spots = now.iter().map(|(reference, object)| (reference.clone(), Arc::clone(&object.spots))).collect();
        self.held = now;
        let pages = Pages { spots, complaints };
        if *self.pages != pages {
            self.pages = Arc::new(pages);
        }
        changes
    }

    fn read_all(&mut self, texts: Texts, complaints: &mut Vec<Complaint>) {
        self.files.retain(|file, _| texts.contains_key(file));
        for (file, text) in texts {
            let read = FileRead::new(&file, text);
            complaints.extend(read.complaints);
            if read.whole || !self.files.contains_key(&file) {
                self.files.insert(file, read.objects);
            }
        }
    }

    /// One object of each name: of two, the one in the first file.
    fn merged(&self, complaints: &mut Vec<Complaint>) -> BTreeMap<ObjectRef, Object> {
        let mut merged = BTreeMap::<ObjectRef, Object>::new();
        for object in self.files.values().flatten() {
            let Some(first) = merged.get(&object.reference) else {
                merged.insert(object.reference.clone(), object.clone());
                continue;
            };
            let there = first.spots.place("").map_or_else(String::new, |place| format!(" at {place}"));
            complaints.push(Complaint {
                place: object.spots.place("/metadata/name"),
                severity: Severity::Error,
                object: Some(object.reference.clone()),
                field: String::new(),
                message: format!("there is one of this kind and name already{there}, which is the one that counts"),
                remedy: "rename or remove one of the two".to_owned(),
            });
        }
        for object in &self.beneath {
            merged.entry(object.reference.clone()).or_insert_with(|| object.clone());
        }
        merged
    }
}

fn changes(before: &BTreeMap<ObjectRef, Object>, now: &BTreeMap<ObjectRef, Object>) -> Vec<Change> {
    let gone = before.keys().filter(|reference| !now.contains_key(*reference)).map(object::removal);
    let new = now.values().filter(|object| before.get(&object.reference).is_none_or(|held| held.value != object.value));
    gone.chain(new.map(|object| object.change.clone())).collect()
}

/// One file, read.
struct FileRead {
    objects: Vec<Object>,
    complaints: Vec<Complaint>,
    /// Whether everything in it could be read.
    whole: bool,
}

impl FileRead {
    fn new(file: &Arc<str>, text: io::Result<String>) -> Self {
        let documents = match text {
            Ok(text) => document::parse(&text),
            Err(error) => Err(NoYaml { spot: (1, 1), message: format!("the file cannot be read: {error}") }),
        };
        let mut read = Self { objects: Vec::new(), complaints: Vec::new(), whole: true };
        match documents {
            Ok(documents) => {
                let objects = documents.into_iter().flat_map(Document::objects);
                objects.for_each(|object| read.take(object::read(object, file)));
            }
            Err(error) => {
                read.whole = false;
                read.complaints.push(Complaint {
                    place: Some(Place { file: Arc::clone(file), line: error.spot.0, column: error.spot.1 }),
                    severity: Severity::Error,
                    object: None,
                    field: String::new(),
                    message: error.message,
                    remedy: "correct the file; until then what was last read from it stays in force".to_owned(),
                });
            }
        }
        read
    }

    fn take(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Read(object, complaints) => {
                self.objects.push(object);
                self.complaints.extend(complaints);
            }
            Outcome::Undecodable(object, complaint) => {
                self.whole = false;
                self.objects.push(object);
                self.complaints.push(complaint);
            }
            Outcome::Refused(complaint) => {
                self.whole = false;
                self.complaints.push(complaint);
            }
            Outcome::Passed(complaint) => self.complaints.extend(complaint),
        }
    }
}

#[cfg(test)]
mod tests;
