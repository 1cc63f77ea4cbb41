//! Log lines on standard error: for people, or each one JSON object with a static `message` and fields, panics and the end of
//! the process too. What becomes of requests is not here but in the audit trail.

use std::borrow::Cow;
use std::io::{IsTerminal, stderr};
use std::panic::{PanicHookInfo, set_hook};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, format};

/// How log lines are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Begins to write the lines that a filter asks for.
pub fn start(format_of: LogFormat, level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter(level).as_ref())?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format_of {
        LogFormat::Text => lines.with_target(false).with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => {
            let flat = format().json().flatten_event(true).with_current_span(false).with_span_list(false);
            lines.event_format(flat).fmt_fields(JsonFields::new()).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging is started once: {error}"))?;
    if format_of == LogFormat::Json {
        set_hook(Box::new(panicked));
    }
    Ok(())
}

/// Says why the process fails: once logging has begun for machines, as they read it.
pub fn failed(error: &anyhow::Error, format_of: LogFormat) {
    if format_of == LogFormat::Json && tracing::dispatcher::has_been_set() {
        tracing::error!(error = format!("{error:#}"), "failed");
    } else {
        eprintln!("error: {error:#}");
    }
}

fn panicked(panic: &PanicHookInfo<'_>) {
    tracing::error!(place = panic.location().map(tracing::field::display), problem = panic.payload_as_str(), "panic");
}

/// Without the client's line for each failed call, unless it is asked for: whoever calls says once what comes of it.
fn filter(asked: &str) -> Cow<'_, str> {
    if asked.contains("kube_client") { asked.into() } else { format!("{asked},kube_client=off").into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_of_the_api_server_logs_where_it_is_asked_to() {
        assert_eq!(filter("info"), "info,kube_client=off");
        assert_eq!(filter("warn,kube_client=debug"), "warn,kube_client=debug");
    }
}
