//! `docs/reference/` is what the code says: `make reference` writes it, and without that a difference fails.

use std::fmt::Write;
use std::fs;

use portcullis::api::{annotations, crds};
use portcullis::proxy::{endpoints, headers};
use portcullis::{admin, cli};
use serde_json::Value;

#[test]
fn the_committed_reference_is_the_generated_one() {
    let documents = [
        ("kinds.md", kinds()),
        ("annotations.md", annotations()),
        ("flags.md", flags()),
        ("environment.md", environment()),
        ("headers.md", headers()),
        ("endpoints.md", endpoints()),
    ];
    let written = std::env::var_os("PORTCULLIS_WRITE_REFERENCE").is_some();
    for (name, text) in documents {
        let path = format!("docs/reference/{name}");
        if written {
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{path} is not what the code says: run `make reference` and commit the result");
    }
}

/// A document that grows.
struct Document(String);

impl Document {
    fn new(title: &str, text: &str) -> Self {
        Self(format!("# {title}\n\n{text}\n\n`make reference` writes this page from the code.\n"))
    }

    fn section(&mut self, title: &str, text: &str) {
        write!(self.0, "\n## {title}\n").unwrap();
        if !text.is_empty() {
            writeln!(self.0, "\n{text}").unwrap();
        }
    }

    fn table(&mut self, heads: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
        writeln!(self.0, "\n| {} |\n|{}", heads.join(" | "), "---|".repeat(heads.len())).unwrap();
        for row in rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
            writeln!(self.0, "| {} |", cells.join(" | ")).unwrap();
        }
    }
}

fn code(text: impl std::fmt::Display) -> String {
    format!("`{text}`")
}

fn kinds() -> String {
    let text = "Group `portcullis.dev`, version `v1alpha1`. Every field may be absent; one that is not known closes what \
                it stands in. `crds/` has the schemas.";
    let mut document = Document::new("Kinds", text);
    for crd in crds() {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        let spec = &schema["openAPIV3Schema"]["properties"]["spec"];
        document.section(&crd.spec.names.kind, spec["description"].as_str().unwrap_or_default());
        let mut rows = vec![];
        fields(spec, "spec", &mut rows);
        document.table(&["field", "type", "what it says"], rows);
    }
    document.0
}

/// A row for each field below `path`, depth first.
fn fields(schema: &Value, path: &str, rows: &mut Vec<Vec<String>>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let description = field["description"].as_str().unwrap_or_default().to_owned();
        let type_of = |schema: &Value| schema["type"].as_str().unwrap_or("any").to_owned();
        let items = field.get("items");
        let kind = items.map_or_else(|| type_of(field), |items| format!("list of {}", type_of(items)));
        rows.push(vec![code(&path), kind, description]);
        match items {
            Some(items) => fields(items, &format!("{path}[]"), rows),
            None => fields(field, &path, rows),
        }
    }
}

fn annotations() -> String {
    let text = "Annotations of an Ingress, each below `portcullis.dev/`. Entries of a list stand between commas. A name \
                that is not known, or a bad value about access, closes the Ingress; another bad value leaves the default.";
    let mut document = Document::new("Annotations", text);
    let rows = annotations::KNOWN.map(|(name, takes, does)| vec![code(name), takes.to_owned(), does.to_owned()]);
    document.table(&["name", "takes", "what it does"], rows);
    document.0
}

fn flags() -> String {
    let mut document = Document::new("Commands and flags", "As `--help` of each command says it.");
    for command in commands() {
        document.section(&code(&command.name), &command.about);
        let rows: Vec<_> = command.arguments.iter().map(Argument::row).collect();
        if !rows.is_empty() {
            document.table(&["flag", "default", "what it says"], rows);
        }
    }
    document.0
}

fn environment() -> String {
    let text = "Each stands for the flag of its name, which wins over it. Beside these `portcullis dev` keeps its state \
                below `XDG_STATE_HOME`, and commands that speak with a cluster read `KUBECONFIG`.";
    let mut document = Document::new("Environment", text);
    let mut rows = std::collections::BTreeMap::<String, (String, Vec<String>)>::new();
    for command in commands() {
        for argument in command.arguments {
            if let Some(variable) = argument.variable {
                let (_, commands) = rows.entry(variable).or_insert_with(|| (argument.name.clone(), vec![]));
                commands.push(code(command.name.trim_start_matches("portcullis ")));
            }
        }
    }
    let row = |(variable, (flag, commands)): (String, (String, Vec<String>))| {
        vec![code(variable), code(flag), commands.join(", ")]
    };
    document.table(&["variable", "flag", "commands"], rows.into_iter().map(row));
    document.0
}

/// A command of the command line.
struct Command {
    name: String,
    about: String,
    arguments: Vec<Argument>,
}

/// A flag of a command, or what it takes without one.
struct Argument {
    name: String,
    default: String,
    help: String,
    variable: Option<String>,
}

impl Argument {
    fn row(&self) -> Vec<String> {
        let default = if self.default.is_empty() { String::new() } else { code(&self.default) };
        vec![code(&self.name), default, self.help.clone()]
    }
}

fn commands() -> Vec<Command> {
    let mut root = cli::command();
    root.build();
    let mut commands = vec![];
    collect(&root, "portcullis", &mut commands);
    commands
}

fn collect(command: &clap::Command, name: &str, into: &mut Vec<Command>) {
    for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
        let name = format!("{name} {}", child.get_name());
        let arguments = child.get_arguments().filter(|it| !it.is_hide_set() && it.get_id() != "help").map(argument);
        let about = child.get_about().map(ToString::to_string).unwrap_or_default();
        into.push(Command { name: name.clone(), about, arguments: arguments.collect() });
        collect(child, &name, into);
    }
}

fn argument(argument: &clap::Arg) -> Argument {
    let value = || argument.get_value_names().map(|names| names.join(" ")).unwrap_or_default();
    let name = match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {}", value()),
        Some(long) => format!("--{long}"),
        None => value(),
    };
    let takes = argument.get_action().takes_values();
    let defaults = argument.get_default_values().iter().map(|value| value.to_string_lossy());
    let words = argument.get_possible_values();
    let mut help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    if takes && !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| code(word.get_name())).collect();
        write!(help, " ({})", words.join(", ")).unwrap();
    }
    Argument {
        name,
        default: if takes { defaults.collect::<Vec<_>>().join(",") } else { String::new() },
        help,
        variable: argument.get_env().map(|name| name.to_string_lossy().into_owned()),
    }
}

fn headers() -> String {
    let mut document = Document::new("Headers", "What requests and responses get from us, and what never passes.");
    document.section("To upstreams", "Whatever the client wrote in these is gone.");
    let told = headers::told().map(|(name, says)| vec![code(name), says.to_owned()]);
    document.table(&["field", "what it says"], told);
    document.section(
        "Never from a client to an upstream",
        "Fields that begin so, in any spelling that an upstream might take for it, and our own cookies:",
    );
    let reserved: Vec<String> = headers::reserved().map(code).collect();
    writeln!(document.0, "\n{}.", reserved.join(", ")).unwrap();
    document.section(
        "To clients",
        "Guarded hosts tell browsers to stay with HTTPS (`strict-transport-security`), as `tls.hsts` of the class has it. \
         A redirect of ours says this; a page says `referrer-policy: same-origin` instead, and a `content-security-policy` \
         under which no script runs:",
    );
    let redirect = portcullis::proxy::pages::redirect(http::StatusCode::SEE_OTHER, "/");
    let rows = redirect.headers().iter().filter(|(name, _)| *name != http::header::LOCATION);
    document.table(&["field", "value"], rows.map(|(name, value)| vec![code(name), code(value.to_str().unwrap())]));
    document.0
}

fn endpoints() -> String {
    let mut document = Document::new("Endpoints", "What Portcullis answers itself.");
    let text = "On every host with a guarded route, over HTTPS, before any route; nothing below `/.portcullis/` and \
                `/.well-known/portcullis/` reaches an upstream.";
    document.section("For people", text);
    let rows = endpoints::PATHS.map(|(path, methods, does)| vec![code(path), methods.to_owned(), does.to_owned()]);
    document.table(&["path", "methods", "what it does"], rows);
    document.section("For the cluster", "On the listener of `--admin`.");
    let rows = admin::PATHS.map(|(path, says)| vec![code(path), says.to_owned()]);
    document.table(&["path", "what it says"], rows);
    document.0
}
