use super::*;

fn parse(keys: &[(&str, &str)]) -> Result<RedisSettings, String> {
    let data = keys.iter().map(|(key, text)| ((*key).to_owned(), text.as_bytes().to_vec()));
    RedisSettings::parse(data).map_err(|error| error.to_string())
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port }
}

fn login(username: &str, password: &str) -> Login {
    Login { username: Some(username.to_owned()), password: Some(Secret::new(password.to_owned())) }
}

#[test]
fn one_server() {
    let settings = parse(&[("url", " redis://redis.sessions \n")]).unwrap();
    assert_eq!(settings.addresses, [address("redis.sessions", 6379)]);
    assert_eq!((settings.login, settings.topology), (Login::default(), Topology::Single));
    assert!(settings.tls.is_none());
}

#[test]
fn a_login_and_an_encrypted_connection() {
    let settings = parse(&[("url", "rediss://[::1]:6380/0"), ("username", "portcullis"), ("password", "hunter2\n")]);
    let settings = settings.unwrap();
    assert_eq!(settings.addresses, [address("::1", 6380)]);
    assert_eq!(settings.addresses[0].to_string(), "[::1]:6380");
    assert_eq!(settings.login, login("portcullis", "hunter2"));
    assert!(settings.tls.is_some());
}

#[test]
fn sentinels_have_a_port_and_a_login_of_their_own() {
    let settings = parse(&[
        ("url", "redis://one redis://two:5000"),
        ("password", "hunter2"),
        ("sentinel-master", "sessions"),
        ("sentinel-username", "watch"),
        ("sentinel-password", "hunter3"),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.addresses, [address("one", 26379), address("two", 5000)]);
    let topology = Topology::Sentinel { master: "sessions".to_owned(), login: login("watch", "hunter3") };
    assert_eq!(settings.topology, topology);
}

#[test]
fn a_cluster_is_several_servers() {
    let settings = parse(&[("url", "redis://one redis://two"), ("cluster", "true")]).unwrap();
    assert_eq!(settings.addresses, [address("one", 6379), address("two", 6379)]);
    assert_eq!(settings.topology, Topology::Cluster);
}

#[test]
fn what_cannot_be_used_is_named() {
    const URL: (&str, &str) = ("url", "redis://one");
    const TLS: (&str, &str) = ("url", "rediss://one");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], "`url` is missing"),
        (&[("url", " ")], "`url` is empty"),
        (&[("url", "http://one")], "`url` is not `redis://HOST:PORT`"),
        (&[("url", "redis://one/3")], "`url` is not `redis://HOST:PORT`"),
        (&[("url", "one:6379")], "`url` is not `redis://HOST:PORT`"),
        (&[("url", "redis://:hunter2@one")], "`url` holds a user or password"),
        (&[("url", "redis://one redis://two")], "`url` names several servers"),
        (&[("url", "redis://one rediss://two"), ("cluster", "true")], "`url` mixes"),
        (&[URL, ("username", "portcullis")], "`username` goes without `password`"),
        (&[URL, ("cluster", "yes")], "`cluster` is neither"),
        (&[URL, ("cluster", "true"), ("sentinel-master", "sessions")], "`sentinel-master` contradicts `cluster`"),
        (&[URL, ("sentinel-password", "hunter2")], "`sentinel-password` is not known"),
        (&[URL, ("pasword", "hunter2")], "`pasword` is not known"),
        (&[URL, ("ca.crt", "")], "`ca.crt` goes with `rediss` alone"),
        (&[TLS, ("ca.crt", "no PEM")], "`ca.crt` holds no usable certificates"),
        (&[TLS, ("tls.crt", "")], "`tls.crt` goes without `tls.key`"),
        (&[TLS, ("tls.key", "")], "`tls.key` goes without `tls.crt`"),
        (&[TLS, ("tls.crt", ""), ("tls.key", "no PEM")], "`tls.key` holds no key"),
    ];
    for (keys, problem) in cases {
        let error = parse(keys).expect_err(problem);
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains("hunter"), "{error}");
    }
    let binary = RedisSettings::parse([("url".to_owned(), vec![0xff])]).unwrap_err();
    assert_eq!(binary.to_string(), "its key `url` is not UTF-8");
}

#[test]
fn printed_settings_hide_their_passwords() {
    let settings = parse(&[("url", "redis://one"), ("password", "hunter2")]).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
}
