//! What `dev` says on standard output: where to go, as whom, what is live. Plain lines, with or without a terminal.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::field::display;

use super::personas::PERSONAS;
use crate::audit::Sink;
use crate::controller::Live;
use crate::logging::LogFormat;

/// Where everything is.
pub struct Banner {
    /// The plain listener.
    pub http: Option<SocketAddr>,
    /// The TLS listener.
    pub https: Option<SocketAddr>,
    /// The certificate to trust.
    pub authority: PathBuf,
    /// Where audit events go.
    pub audit: Sink,
    /// The demo provider's issuer.
    pub provider: String,
    /// The folder, where one is served.
    pub folder: Option<PathBuf>,
    /// For whom it is: machines get a log line, and read of generations in those of publishes.
    pub format: LogFormat,
}

impl Banner {
    /// Prints the banner with the first generation, then a line with each.
    pub async fn follow(self, mut live: watch::Receiver<Option<Arc<Live>>>) {
        if self.format == LogFormat::Json {
            return self.log();
        }
        let mut said = 0;
        while live.changed().await.is_ok() {
            let generation = live.borrow_and_update().as_ref().map_or(0, |live| live.generation);
            if said == 0 {
                print!("{self}");
            }
            if generation != said {
                println!("live: generation {generation}");
                said = generation;
            }
        }
    }

    fn log(&self) {
        let [http, https] = [self.http, self.https].map(|address| address.map(display));
        let folder = self.folder.as_ref().map(|folder| display(folder.display()));
        let (authority, provider) = (self.authority.display(), &self.provider);
        match &self.audit {
            Sink::Stdout => tracing::info!(http, https, folder, %authority, provider, audit = "stdout", "serving"),
            Sink::File(file) => {
                tracing::info!(http, https, folder, %authority, provider, audit = %file.display(), "serving");
            }
        }
    }

    fn apps(&self, f: &mut fmt::Formatter<'_>, port: u16) -> fmt::Result {
        writeln!(f, "  https://public.localhost:{port}/    for everybody")?;
        writeln!(f, "  https://team.localhost:{port}/      for anyone signed in")?;
        writeln!(f, "  https://finance.localhost:{port}/   for the group finance\n")
    }

    /// Lines to paste: sign in without a browser, then ask again with the session.
    fn curl(&self, f: &mut fmt::Formatter<'_>, port: u16) -> fmt::Result {
        let trust = self.authority.display();
        let jar = self.authority.with_file_name("cookies");
        let jar = jar.display();
        let (finance, who) = (format!("https://finance.localhost:{port}"), PERSONAS[1].subject);
        writeln!(f, "With curl:")?;
        writeln!(f, "  curl --cacert {trust} https://public.localhost:{port}/")?;
        writeln!(f, "  C=(curl -sSL --cacert {trust} -b {jar} -c {jar})")?;
        writeln!(
            f,
            "  FORM=$(\"${{C[@]}}\" -o /dev/null -w '%{{url_effective}}' '{finance}/.portcullis/login?return=/')"
        )?;
        writeln!(f, "  \"${{C[@]}}\" -d persona={who} \"$FORM\"      # signs in and shows what the app received")?;
        writeln!(f, "  \"${{C[@]}}\" {finance}/again\n")
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nPortcullis is up: the real proxy, on this machine.\n")?;
        match (&self.folder, self.https) {
            (Some(folder), _) => writeln!(f, "Serving {}; a file that you save is live at once.\n", folder.display())?,
            (None, Some(https)) => self.apps(f, https.port())?,
            (None, None) => writeln!(f, "HTTPS is off: the demo has nothing to show.\n")?,
        }
        writeln!(f, "Sign in at {} as:", self.provider)?;
        for persona in PERSONAS {
            writeln!(f, "  {:7} {:24} {}", persona.subject, persona.email, persona.hint)?;
        }
        writeln!(f)?;
        if let (None, Some(https)) = (&self.folder, self.https) {
            self.curl(f, https.port())?;
        }
        if let Some(http) = self.http {
            writeln!(f, "Plain HTTP at {http} leads to HTTPS.")?;
        }
        writeln!(f, "Browsers trust the apps once {} is imported.", self.authority.display())?;
        match &self.audit {
            Sink::Stdout => Ok(()),
            Sink::File(file) => writeln!(f, "Every decision is recorded in {}.", file.display()),
        }
    }
}
