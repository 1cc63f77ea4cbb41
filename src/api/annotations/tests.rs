use super::*;

fn read_one(key: &str, value: &str) -> (Annotations, Vec<BadAnnotation>) {
    read(&BTreeMap::from([(format!("{PREFIX}{key}"), value.to_owned())]))
}

fn refused(key: &str, value: &str) -> BadAnnotation {
    let (read, mut bad) = read_one(key, value);
    assert_eq!(read, Annotations::default(), "{key}: {value}");
    assert_eq!(bad.len(), 1, "{key}: {value}");
    bad.remove(0)
}

#[test]
fn another_case_of_the_prefix_is_not_passed_over() {
    let (read, bad) = read(&BTreeMap::from([("Portcullis.dev/allowed-groups".to_owned(), "finance".to_owned())]));
    assert_eq!(read, Annotations::default());
    assert!(bad.len() == 1 && bad[0].closes, "{bad:?}");
}

#[test]
fn every_known_name_is_read() {
    let all = [
        ("access", "policy"),
        ("policies", "backoffice, admins"),
        ("provider", "corp"),
        ("allowed-groups", "staff,Finance Team"),
        ("allowed-emails", "a@example.com"),
        ("allowed-email-domains", "example.com"),
        ("identity-headers", "groups,user,user"),
        ("ssl-redirect", "false"),
        ("websocket", "true"),
        ("cors-allow-origin", "https://App.example.com:443, http://localhost:3000"),
        ("cors-preflight", "true"),
        ("connect-timeout", "2s"),
        ("request-timeout", "1m30s"),
        ("idle-timeout", "500ms"),
        ("request-body-limit", "10Mi"),
        ("backend-protocol", "HTTP"),
    ];
    assert_eq!(all.map(|(key, _)| key), KNOWN.map(|(key, ..)| key));
    let ours = all.map(|(key, value)| (format!("{PREFIX}{key}"), value.to_owned()));
    let others = [("kubernetes.io/ingress.class".to_owned(), "x".to_owned())];
    let (read, bad) = read(&ours.into_iter().chain(others).collect());
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(bad, []);
    assert_eq!(
        read,
        Annotations {
            access: Some(AccessWord::Policy),
            policies: texts(&["backoffice", "admins"]),
            provider: Some("corp".to_owned()),
            allowed_groups: texts(&["staff", "Finance Team"]),
            allowed_emails: texts(&["a@example.com"]),
            allowed_email_domains: texts(&["example.com"]),
            identity_headers: vec![IdentityHeaderWord::User, IdentityHeaderWord::Groups],
            ssl_redirect: Some(false),
            websocket: Some(true),
            cors_allow_origin: texts(&["https://app.example.com", "http://localhost:3000"]),
            cors_preflight: Some(true),
            connect_timeout: Some(Duration::from_secs(2)),
            request_timeout: Some(Duration::from_secs(90)),
            idle_timeout: Some(Duration::from_millis(500)),
            request_body_limit: Some(10 << 20),
            backend_protocol: Some(BackendProtocol::Http),
        }
    );
}

#[test]
fn a_misspelt_name_closes() {
    assert_eq!(
        refused("alowed-groups", "staff"),
        BadAnnotation {
            name: "portcullis.dev/alowed-groups".to_owned(),
            message: "the annotation `portcullis.dev/alowed-groups` is not known".to_owned(),
            remedy: "correct its name or remove it".to_owned(),
            closes: true,
        }
    );
}

#[test]
fn a_bad_value_about_access_closes() {
    for (key, value) in [
        ("access", "Public"),
        ("access", ""),
        ("policies", "a,,b"),
        ("policies", ""),
        ("provider", " "),
        ("allowed-groups", ","),
        ("allowed-emails", ""),
        ("allowed-email-domains", "example.com,"),
        ("backend-protocol", "HTTPS"),
    ] {
        assert!(refused(key, value).closes, "{key}: {value}");
    }
}

#[test]
fn another_bad_value_leaves_the_default() {
    for (key, value) in [
        ("identity-headers", "user,mail"),
        ("ssl-redirect", "yes"),
        ("websocket", "on"),
        ("cors-allow-origin", "*"),
        ("cors-allow-origin", "https://example.com/"),
        ("cors-allow-origin", "https://u@example.com"),
        ("cors-allow-origin", "ftp://example.com"),
        ("cors-preflight", "1"),
        ("connect-timeout", "0s"),
        ("request-timeout", "10"),
        ("idle-timeout", "never"),
        ("request-timeout", "9223372036854775807s"),
        ("idle-timeout", "25h"),
        ("request-body-limit", "ten"),
        ("request-body-limit", "1.5Mi"),
        ("request-body-limit", "99999999999Gi"),
    ] {
        assert!(!refused(key, value).closes, "{key}: {value}");
    }
}
