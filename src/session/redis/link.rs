//! One connection to one server: encrypted, authenticated, told of every change under our prefix, and given up for good
//! at its first failure.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo,
    RedisError, RedisResult, Value,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::settings::{Address, Login, RedisSettings};
use super::{Event, PREFIX, key_of};
use crate::session::StoreError;

/// For an open connection, and for each answer on it.
const DEADLINE: Duration = Duration::from_secs(2);

pub(super) struct Link {
    pub address: Address,
    connection: MultiplexedConnection,
    /// Ended where the connection is no use any more.
    pub broken: CancellationToken,
}

impl Link {
    /// A connection that tells `events` what happens to our keys, so that whatever is read on it is known to be stale
    /// from the moment it is.
    pub async fn open(
        settings: &RedisSettings,
        address: &Address,
        events: &broadcast::Sender<Event>,
    ) -> Result<Self, StoreError> {
        let broken = CancellationToken::new();
        let (told, ended) = (events.clone(), broken.clone());
        let pushed = move |push: PushInfo| {
            match push.kind {
                PushKind::Disconnection => ended.cancel(),
                // An error says that nobody listens.
                PushKind::Invalidate => drop(told.send(touched(push.data))),
                _ => {}
            }
            Ok::<_, ()>(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(pushed);
        let link = Self::connect(settings, address, &settings.login, config, broken).await?;
        let track = redis::cmd("CLIENT").arg(&["TRACKING", "ON", "BCAST", "PREFIX", PREFIX]).take();
        link.ask::<()>(&track).await?;
        Ok(link)
    }

    /// A connection for a question or two.
    pub async fn visit(settings: &RedisSettings, address: &Address, login: &Login) -> Result<Self, StoreError> {
        Self::connect(settings, address, login, AsyncConnectionConfig::new(), CancellationToken::new()).await
    }

    async fn connect(
        settings: &RedisSettings,
        address: &Address,
        login: &Login,
        config: AsyncConnectionConfig,
        broken: CancellationToken,
    ) -> Result<Self, StoreError> {
        let mut info = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
        if let Some(username) = &login.username {
            info = info.set_username(username);
        }
        if let Some(password) = &login.password {
            info = info.set_password(password.expose());
        }
        let config = config.set_response_timeout(Some(DEADLINE));
        let opened = timeout(DEADLINE, async {
            let stream = dial(settings, address).await?;
            let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
            tokio::spawn(broken.clone().run_until_cancelled_owned(driver));
            Ok(Self { address: address.clone(), connection, broken })
        });
        let opened =
            opened.await.unwrap_or_else(|_| Err(RedisError::from((ErrorKind::Io, "it does not answer in time"))));
        opened.map_err(|error| match StoreError::from(error) {
            StoreError::Unreachable(why) => StoreError::Unreachable(format!("{address}: {why}")),
            StoreError::Refused(why) => StoreError::Refused(format!("{address}: {why}")),
            other => other,
        })
    }

    /// One command and its answer. A connection that fails is never used again: its answers may be another's.
    pub async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> RedisResult<T> {
        self.spared(command.query_async(&mut self.connection.clone()).await)
    }

    /// The same of a slot that is on its way to this server.
    pub async fn ask_ahead<T: FromRedisValue>(&self, command: Cmd) -> RedisResult<T> {
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command);
        let answer: RedisResult<(T,)> = both.query_async(&mut self.connection.clone()).await;
        self.spared(answer.map(|(answer,)| answer))
    }

    fn spared<T>(&self, answer: RedisResult<T>) -> RedisResult<T> {
        if answer.as_ref().is_err_and(|error| error.is_io_error() || error.code() == Some("READONLY")) {
            self.broken.cancel();
        }
        answer
    }
}

/// Its last user is gone.
impl Drop for Link {
    fn drop(&mut self) {
        self.broken.cancel();
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

async fn dial(settings: &RedisSettings, address: &Address) -> RedisResult<Box<dyn Stream>> {
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await?;
    tcp.set_nodelay(true)?;
    let Some(tls) = &settings.tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(address.host.clone())
        .map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "its host is no name for a certificate")))?;
    Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?))
}

/// What a message of invalidation says: these keys, or without any, all.
fn touched(data: Vec<Value>) -> Event {
    let Some(Value::Array(keys)) = data.into_iter().next() else { return Event::Emptied };
    Event::Touched(keys.iter().filter_map(key_of).collect())
}

impl From<RedisError> for StoreError {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("OOM") => Self::Full("Redis is out of memory; raise its `maxmemory`".to_owned()),
            // No value of ours.
            Some("WRONGTYPE") => Self::Conflict,
            Some("NOPERM" | "WRONGPASS" | "NOAUTH") => Self::Refused(error.to_string()),
            _ if error.kind() == ErrorKind::AuthenticationFailed => Self::Refused(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}
