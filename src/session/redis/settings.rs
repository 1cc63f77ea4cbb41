//! How Redis is reached: the Secret that `--redis-secret` names, read whole or refused. Its keys:
//!
//! `url` (several for Sentinel or Cluster, by white space), `username`, `password`, `ca.crt`, `tls.crt` with `tls.key`;
//! `sentinel-master` where the URLs are those of Sentinels, with `sentinel-username` and `sentinel-password`; `cluster`
//! (`true`) where they are of a Cluster.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use rustls_platform_verifier::BuilderVerifierExt;
use url::Url;

use crate::secret::Secret;

/// The port of a URL that names none: Redis' own, and Sentinel's.
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is and how we show ourselves there.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// At least one.
    pub(super) addresses: Vec<Address>,
    pub(super) login: Login,
    /// TLS, to Sentinels as to Redis.
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) topology: Topology,
}

/// What stands at the addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Topology {
    /// One server.
    Single,
    /// Sentinels, which know the master of this name.
    Sentinel { master: String, login: Login },
    /// Some masters of a Cluster.
    Cluster,
}

/// Who we are; an ACL user, or by the password alone, or nobody.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Login {
    pub username: Option<String>,
    pub password: Option<Secret<String>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
}

/// A key of the Secret that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("its key `{key}` {problem}")]
pub struct BadRedisSettings {
    key: String,
    problem: String,
}

impl RedisSettings {
    /// Reads the data of the Secret. A key that is not known is an error, as it may be a misspelt one.
    pub fn parse(data: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<Self, BadRedisSettings> {
        let mut keys = Keys(data.into_iter().collect());
        let urls = keys.take("url")?.ok_or_else(|| bad("url", "is missing"))?;
        let login = keys.login("username", "password")?;
        let topology = keys.topology()?;
        let port = if matches!(topology, Topology::Sentinel { .. }) { SENTINEL_PORT } else { PORT };
        let servers = urls.split_whitespace().map(|url| server(url, port)).collect::<Result<Vec<_>, _>>()?;
        let Some(&(_, encrypted)) = servers.first() else { return Err(bad("url", "is empty")) };
        if servers.iter().any(|(_, other)| *other != encrypted) {
            return Err(bad("url", "mixes `redis` and `rediss`"));
        }
        if servers.len() > 1 && topology == Topology::Single {
            return Err(bad("url", "names several servers without `sentinel-master` or `cluster`"));
        }
        let tls = keys.tls(encrypted)?;
        keys.none_left()?;
        Ok(Self { addresses: servers.into_iter().map(|(address, _)| address).collect(), login, tls, topology })
    }
}

/// What is left of the Secret to be read.
struct Keys(BTreeMap<String, Vec<u8>>);

impl Keys {
    /// A text, without the white space that editors leave at its ends.
    fn take(&mut self, key: &str) -> Result<Option<String>, BadRedisSettings> {
        let Some(bytes) = self.0.remove(key) else { return Ok(None) };
        let text = String::from_utf8(bytes).map_err(|_| bad(key, "is not UTF-8"))?;
        Ok(Some(text.trim().to_owned()))
    }

    fn login(&mut self, username: &str, password: &str) -> Result<Login, BadRedisSettings> {
        let login = Login { username: self.take(username)?, password: self.take(password)?.map(Secret::new) };
        match login {
            Login { username: Some(_), password: None } => Err(bad(username, &format!("goes without `{password}`"))),
            login => Ok(login),
        }
    }

    fn topology(&mut self) -> Result<Topology, BadRedisSettings> {
        let cluster = match self.take("cluster")?.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(bad("cluster", "is neither `true` nor `false`")),
        };
        match self.take("sentinel-master")? {
            Some(_) if cluster => Err(bad("sentinel-master", "contradicts `cluster`")),
            Some(master) => {
                Ok(Topology::Sentinel { master, login: self.login("sentinel-username", "sentinel-password")? })
            }
            None if cluster => Ok(Topology::Cluster),
            None => Ok(Topology::Single),
        }
    }

    fn tls(&mut self, encrypted: bool) -> Result<Option<Arc<ClientConfig>>, BadRedisSettings> {
        if !encrypted {
            return Ok(None);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has the suites of both versions");
        let builder = match self.0.remove("ca.crt") {
            Some(pem) => builder.with_root_certificates(roots(&pem).ok_or_else(|| bad("ca.crt", NO_CERTIFICATES))?),
            None => builder.with_platform_verifier().map_err(|error| {
                bad("ca.crt", &format!("is missing, and the system's trust anchors are unusable ({error})"))
            })?,
        };
        let config = match (self.0.remove("tls.crt"), self.0.remove("tls.key").map(Secret::new)) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let chain: Option<_> = CertificateDer::pem_slice_iter(&chain).map(Result::ok).collect();
                let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_| bad("tls.key", "holds no key"))?;
                let chain = chain.ok_or_else(|| bad("tls.crt", NO_CERTIFICATES))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| bad("tls.crt", &format!("is no use: {error}")))?
            }
            (Some(_), None) => return Err(bad("tls.crt", "goes without `tls.key`")),
            (None, Some(_)) => return Err(bad("tls.key", "goes without `tls.crt`")),
        };
        Ok(Some(Arc::new(config)))
    }

    fn none_left(self) -> Result<(), BadRedisSettings> {
        self.0.into_keys().next().map_or(Ok(()), |key| {
            let problem =
                if key.contains(".crt") || key == "tls.key" { "goes with `rediss` alone" } else { "is not known" };
            Err(bad(&key, problem))
        })
    }
}

const NO_CERTIFICATES: &str = "holds no usable certificates in PEM";

/// Every certificate must be usable: half a bundle would fail at a later, worse moment.
fn roots(pem: &[u8]) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.ok()?).ok()?;
    }
    (!roots.is_empty()).then_some(roots)
}

/// `redis://HOST[:PORT]`, or `rediss` where that is encrypted; nothing else, as the rest has its own keys.
fn server(text: &str, port: u16) -> Result<(Address, bool), BadRedisSettings> {
    let shape = || bad("url", "is not `redis://HOST:PORT` or `rediss://HOST:PORT`");
    // What is refused may hold a password, so it is not repeated.
    let url = Url::parse(text).map_err(|_| shape())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("url", "holds a user or password; put them into `username` and `password`"));
    }
    let plain = matches!(url.path(), "" | "/" | "/0") && url.query().is_none() && url.fragment().is_none();
    let (Some(host), "redis" | "rediss", true) = (url.host_str(), url.scheme(), plain) else { return Err(shape()) };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((Address { host, port: url.port().unwrap_or(port) }, url.scheme() == "rediss"))
}

fn bad(key: &str, problem: &str) -> BadRedisSettings {
    BadRedisSettings { key: key.to_owned(), problem: problem.to_owned() }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests;
