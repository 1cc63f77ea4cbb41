use proptest::prelude::*;

use super::*;

/// The data and trailers of bytes that come in pieces, and what is left behind the body.
fn decode(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Malformed> {
    let (mut received, mut data, mut trailers) = (BytesMut::new(), Vec::new(), HeaderMap::new());
    for piece in pieces {
        received.extend_from_slice(piece);
        while let Some(frame) = decoder.take(&mut received)? {
            match frame.into_data() {
                Ok(bytes) => {
                    assert!(!bytes.is_empty());
                    data.extend_from_slice(&bytes);
                }
                Err(frame) => trailers = frame.into_trailers().unwrap(),
            }
        }
    }
    if !decoder.is_done() {
        decoder.close()?;
    }
    assert_eq!(decoder.exact(), Some(0));
    Ok((data, trailers, received.to_vec()))
}

fn chunked() -> Decoder {
    Decoder::Chunked(Chunked::default())
}

#[test]
fn the_end_of_a_body_is_seen_with_its_last_byte() {
    let mut received = BytesMut::from(&b"3\r\nabc\r\n0\r\n\r\n"[..]);
    let mut decoder = chunked();
    assert!(decoder.take(&mut received).unwrap().is_some() && decoder.is_done() && received.is_empty());
}

#[test]
fn a_length_takes_no_more_than_its_own() {
    let (data, _, rest) = decode(Decoder::Length(3), &[b"ab", b"cd"]).unwrap();
    assert_eq!((&*data, &*rest), (&b"abc"[..], &b"d"[..]));
    assert!(matches!(decode(Decoder::Length(3), &[b"ab"]), Err(Malformed::Truncated)));
}

#[test]
fn without_a_length_all_is_data() {
    assert_eq!(decode(Decoder::UntilClose, &[b"a", b"", b"b"]).unwrap().0, b"ab");
}

#[test]
fn trailers_come_behind_the_data() {
    let (data, trailers, rest) = decode(chunked(), &[b"1\r\na\r\n0\r\nx-sum: 7\r\nX-b:c\r\n\r\nrest"]).unwrap();
    assert_eq!((&*data, &*rest), (&b"a"[..], &b"rest"[..]));
    assert_eq!((&trailers["x-sum"], &trailers["x-b"]), (&"7".parse().unwrap(), &"c".parse().unwrap()));
}

#[test]
fn what_is_no_chunk_breaks_the_body() {
    let long = format!("1;{}", "x".repeat(LINE_BYTES));
    let many = format!("1;{}\r\na\r\n", "x".repeat(4000)).repeat(5);
    let trailers = format!("0\r\nx: {}", "x".repeat(TRAILER_BYTES));
    let whole = format!("{trailers}\r\n\r\n");
    for broken in [
        "g\r\n",
        "-1\r\n",
        "+1\r\na",
        "0x1\r\n",
        "\r\n",
        "1\na\r\n",
        "1\r\nab",
        "1\r\na\n0",
        "1;a\nb\r\na\r\n",
        "11111111111111111\r\n",
        "1 1\r\n",
        "0\r\n\nno field\r\n\r\n",
        "0\r\nno field\r\n\r\n",
        "0\r\nx: y\n\n",
        "0\r\nx: y\r\n\n",
        "0\r\nx: y\nz: a\r\n\r\n",
        "0\r\na b: c\r\n\r\n",
        &long,
        &many,
        &trailers,
        &whole,
    ] {
        let fault = decode(chunked(), &[broken.as_bytes()]).unwrap_err();
        assert!(matches!(fault, Malformed::Garbage | Malformed::TooLarge), "{broken:.40}: {fault:?}");
    }
    for truncated in ["", "1", "1\r\n", "1\r\na", "1\r\na\r\n", "1\r\na\r\n0\r\n", "0\r\nx: y\r\n"] {
        let fault = decode(chunked(), &[truncated.as_bytes()]).unwrap_err();
        assert!(matches!(fault, Malformed::Truncated), "{truncated}: {fault:?}");
    }
}

proptest! {
    #[test]
    fn chunks_give_what_was_cut_however_it_arrives(
        chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), "(;[a-z=]{0,9})?"), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        rest in "[a-z]{0,5}",
    ) {
        let mut wire = Vec::new();
        for (data, extension) in &chunks {
            wire.extend_from_slice(format!("{:X}{extension}\r\n", data.len()).as_bytes());
            wire.extend_from_slice(data);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        wire.extend_from_slice(rest.as_bytes());
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|cut| &wire[cut[0]..cut[1]]).collect();
        let (data, _, left) = decode(chunked(), &pieces).unwrap();
        prop_assert_eq!(data, chunks.into_iter().flat_map(|(data, _)| data).collect::<Vec<_>>());
        prop_assert_eq!(left, rest.into_bytes());
    }

    #[test]
    fn whatever_comes_is_decoded_alike_whole_and_byte_by_byte(wire in "[0-9a-f]?(\r\n|\n)?[ -~]{0,6}(\r\n)?[0-2]?\r?\n?[a-z: ]{0,4}(\r\n){0,3}") {
        let bytes: Vec<_> = wire.as_bytes().chunks(1).collect();
        let (whole, single) = (decode(chunked(), &[wire.as_bytes()]), decode(chunked(), &bytes));
        match (whole, single) {
            (Ok(whole), Ok(single)) => prop_assert_eq!(whole, single),
            (whole, single) => prop_assert!(whole.is_err() && single.is_err()),
        }
    }
}

#[test]
fn a_name_that_is_known_is_the_one_that_is_parsed() {
    for name in [
        "accept",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "etag",
        "expect",
        "host",
        "last-modified",
        "referer",
        "server",
        "set-cookie",
        "te",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "vary",
        "via",
        "x-own",
    ] {
        let title =
            name.split('-').map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect::<Vec<_>>().join("-");
        for spelt in [name.to_owned(), title, name.to_ascii_uppercase(), name.replacen("et", "ET", 1)] {
            assert_eq!(name_of(&spelt).ok(), HeaderName::from_bytes(spelt.as_bytes()).ok(), "{spelt}");
        }
    }
    assert!(name_of("a b").is_err() && name_of("").is_err());
}
