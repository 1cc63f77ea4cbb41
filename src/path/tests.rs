//! What is refused, what is canonical, what the lenient reading is.

use super::*;

/// The canonical path and its lenient reading.
fn read(raw: &str) -> Result<(String, Option<String>), BadPath> {
    let RequestPath { canonical, lenient } = Target::parse(raw)?.path;
    Ok((canonical.into(), lenient.map(String::from)))
}

fn one(canonical: &str) -> Result<(String, Option<String>), BadPath> {
    Ok((canonical.to_owned(), None))
}

fn two(canonical: &str, lenient: &str) -> Result<(String, Option<String>), BadPath> {
    Ok((canonical.to_owned(), Some(lenient.to_owned())))
}

#[test]
fn a_plain_path_stays_as_it_came() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c",
        "/@scope/x",
        "/a:b/c=d,e+f!$&'()*",
        "/.well-known/x",
        "/a/...",
        "/a/.b.",
        "/~x-y_z",
    ] {
        assert_eq!(read(path), one(path));
    }
}

#[test]
fn unreserved_octets_are_decoded_and_hex_is_upper_cased() {
    assert_eq!(read("/%61%2D%2e%5F%7eb"), one("/a-._~b"));
    assert_eq!(read("/caf%c3%a9%20x"), one("/caf%C3%A9%20x"));
}

#[test]
fn what_a_path_may_not_hold_raw_is_encoded() {
    assert_eq!(read("/[id]|{x}^`\"<>"), one("/%5Bid%5D%7C%7Bx%7D%5E%60%22%3C%3E"));
    assert_eq!(read("/%5bid%5D"), one("/%5Bid%5D"));
}

#[test]
fn what_servers_read_differently_has_a_lenient_reading() {
    assert_eq!(read("/group%2fproject"), two("/group%2Fproject", "/group/project"));
    assert_eq!(read("/@scope%2Fname"), two("/@scope%2Fname", "/@scope/name"));
    assert_eq!(read("/a%5cb"), two("/a%5Cb", "/a/b"));
    assert_eq!(read("/a//b"), two("/a//b", "/a/b"));
    assert_eq!(read("//evil/x"), two("//evil/x", "/evil/x"));
    assert_eq!(read("/a;v=1/b;x"), two("/a;v=1/b;x", "/a/b"));
    assert_eq!(read("/a%3Bx/b"), two("/a%3Bx/b", "/a/b"));
    assert_eq!(read("/%40admin"), two("/%40admin", "/@admin"));
    assert_eq!(read("/a%252Fb"), two("/a%252Fb", "/a/b"));
    assert_eq!(read("/a%25252fb"), two("/a%25252fb", "/a/b"));
    assert_eq!(read("/%2561dmin"), two("/%2561dmin", "/admin"));
    assert_eq!(read("/%25%36%31dmin"), two("/%2561dmin", "/admin"));
    assert_eq!(read("/%25e9"), two("/%25e9", "/%E9"));
    assert_eq!(read("/%254%2531"), two("/%254%2531", "/A"));
}

#[test]
fn a_percent_sign_is_data() {
    assert_eq!(read("/100%25"), one("/100%25"));
    assert_eq!(read("/100%25/x%25y"), one("/100%25/x%25y"));
    assert_eq!(read("/100%2525"), two("/100%2525", "/100%25"));
}

#[test]
fn the_last_separator_stays() {
    assert_eq!(read("/a//"), two("/a//", "/a/"));
    assert_eq!(read("/a%2F"), two("/a%2F", "/a/"));
    assert_eq!(read("/a/;x"), two("/a/;x", "/a/"));
    assert_eq!(read("/;x/a;y"), two("/;x/a;y", "/a"));
    assert_eq!(read("//"), two("//", "/"));
}

#[test]
fn dot_segments_are_refused_in_every_reading() {
    for path in [
        "/.",
        "/..",
        "/a/./b",
        "/a/../b",
        "/a/..",
        "/a/.",
        "/%2e",
        "/%2E%2e/a",
        "/.%2e/a",
        "/a/..;x/b",
        "/a/..;/b",
        "/a/.;x",
        "/x/..%2fadmin",
        "/x%2F..%2Fadmin",
        "/x/..%5cadmin",
        "/x%5c..",
        "/%252e%252e/a",
        "/%25252e/a",
        "/.%252e/a",
        "/a%252f..%252fb",
        "/..%3bx/a",
        "/..%253Bx/a",
        "/a/%2e%2e%3b",
    ] {
        assert_eq!(read(path), Err(BadPath::DotSegment), "{path}");
    }
}

#[test]
fn forbidden_characters_are_refused() {
    for path in
        ["/a\\b", "/\\", "/%00", "/a%2500", "/a%252500b", "/a\0", "/a\tb", "/a b", "/a\u{7f}", "/é", "/a#b", "/a;%00"]
    {
        assert_eq!(read(path), Err(BadPath::Forbidden), "{path}");
    }
    for query in ["/?a b", "/?\0", "/?a\nb", "/?é", "/?a#b", "/?\u{7f}"] {
        assert_eq!(read(query), Err(BadPath::Forbidden), "{query}");
    }
}

#[test]
fn a_broken_encoding_is_refused() {
    for path in ["/%", "/%a", "/%zz", "/%2", "/a%/b", "/%%41", "/%u0041", "/%+1", "/% 1"] {
        assert_eq!(read(path), Err(BadPath::BrokenEncoding), "{path}");
    }
}

#[test]
fn a_parameter_whose_end_depends_on_the_server_is_refused() {
    for path in ["/a;x%2Fb", "/a;x%5cb/c", "/a;x%252Fb", "/a%3Bx%2fb"] {
        assert_eq!(read(path), Err(BadPath::SplitParameter), "{path}");
    }
}

#[test]
fn what_does_not_begin_with_a_slash_is_refused() {
    for target in ["", "*", "a", "admin/x", "?x", "http://a/", "%2Fa", ";x", "#", "\\a"] {
        assert_eq!(read(target), Err(BadPath::NotAbsolute), "{target}");
    }
}

#[test]
fn the_limit_holds_for_what_comes_and_for_what_is_sent() {
    let longest = format!("/{}?", "a".repeat(TARGET_LIMIT - 2));
    assert_eq!(Target::parse(&longest).unwrap().to_string(), longest);
    assert_eq!(Target::parse(&format!("{longest}x")), Err(BadPath::TooLong));
    assert_eq!(Target::parse(&format!("/{}", "|".repeat(TARGET_LIMIT / 2))), Err(BadPath::TooLong));
}

#[test]
fn the_query_stays_as_it_came() {
    let target = Target::parse("/a%2f?x=%zz\\&y=../%2f?;").unwrap();
    assert_eq!((target.path().as_str(), target.query()), ("/a%2F", Some("x=%zz\\&y=../%2f?;")));
    assert_eq!(target.to_string(), "/a%2F?x=%zz\\&y=../%2f?;");
    assert_eq!(Target::parse("/a?").unwrap().query(), Some(""));
    assert_eq!(Target::parse("/a").unwrap().query(), None);
}

#[test]
fn a_prefix_matches_by_element() {
    for prefix in ["/foo", "/foo/"].map(|path| PathMatch::prefix(path).unwrap()) {
        assert_eq!(
            ["/foo", "/foo/", "/foo/x", "/foobar", "/fo", "/", "/x/foo"].map(|path| prefix.matches(path)),
            [true, true, true, false, false, false, false]
        );
    }
    let root = PathMatch::prefix("/").unwrap();
    assert!(root.matches("/") && root.matches("/foo") && root.matches("//"));
}

#[test]
fn an_exact_path_matches_byte_for_byte() {
    let exact = PathMatch::exact("/foo").unwrap();
    assert_eq!(["/foo", "/foo/", "/Foo", "/foo/x"].map(|path| exact.matches(path)), [true, false, false, false]);
    assert!(PathMatch::exact("/foo/").unwrap().matches("/foo/"));
}

#[test]
fn loosely_the_slash_at_the_end_of_an_exact_path_does_not_count() {
    for exact in ["/foo", "/foo/"].map(|path| PathMatch::exact(path).unwrap()) {
        let paths = ["/foo", "/foo/", "/foo//", "/Foo", "/foo/x", "/"];
        assert_eq!(paths.map(|path| exact.matches_loosely(path)), [true, true, false, false, false, false], "{exact}");
    }
    let root = PathMatch::exact("/").unwrap();
    assert!(root.matches_loosely("/") && !root.matches_loosely("/foo"));
    let prefix = PathMatch::prefix("/foo").unwrap();
    assert!(prefix.matches_loosely("/foo/") && prefix.matches_loosely("/foo/x") && !prefix.matches_loosely("/foobar"));
}

#[test]
fn the_path_of_a_rule_is_canonical_and_plain() {
    assert_eq!(PathMatch::parse("exact:/%61/b~c"), PathMatch::exact("/a/b~c"));
    for path in ["/admin/*", "/admin(/|$)(.*)", "/a[0-9]", "/a{2}", "/^a"] {
        assert_eq!(PathMatch::prefix(path), Err(BadPath::Pattern), "{path}");
    }
    for path in ["/a//b", "/a;b", "/a%2Fb", "/%40a", "/a%2541", "/a?x", "//"] {
        assert_eq!(PathMatch::prefix(path), Err(BadPath::NotPlain), "{path}");
        assert_eq!(PathMatch::exact(path), Err(BadPath::NotPlain), "{path}");
    }
    assert_eq!(PathMatch::parse("a"), Err(BadPath::NotAbsolute));
    assert_eq!(PathMatch::parse("exact:"), Err(BadPath::NotAbsolute));
    assert_eq!(PathMatch::parse("/a/../b"), Err(BadPath::DotSegment));
    assert_eq!(PathMatch::parse("/aé"), Err(BadPath::Forbidden));
}

#[test]
fn order_is_precedence() {
    let mut paths = ["/", "exact:/", "/a", "exact:/a", "/a/b", "exact:/b", "/b/", "exact:/a/"]
        .map(|path| PathMatch::parse(path).unwrap());
    paths.sort();
    let written = paths.map(|path| path.to_string());
    assert_eq!(written, ["/a/b", "exact:/a/", "exact:/a", "exact:/b", "/a", "/b", "exact:/", "/"]);
}

#[test]
fn what_cannot_be_served_is_closed_as_far_as_it_is_plain() {
    for (path, part) in [
        ("/files;v", "/files"),
        ("/a//b", "/a"),
        ("/my%2Fapp", "/my"),
        ("/admin(/|$)(.*)", "/admin"),
        ("/api/*", "/api"),
        ("/adm*", "/"),
        ("/a/b[0-9]/c", "/a"),
        ("/a/../b", "/a"),
        ("/*", "/"),
        ("relative", "/"),
        ("", "/"),
    ] {
        assert_eq!(PathMatch::plain_part(path), PathMatch::prefix(part).unwrap(), "{path}");
    }
}
