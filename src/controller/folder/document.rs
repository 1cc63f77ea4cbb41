//! YAML text to JSON documents that remember where each field was written.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Location, Spanned};

/// One document of a file.
#[derive(Debug)]
pub(super) struct Document {
    /// Its content.
    pub(super) value: Value,
    /// Line and column of each field, by JSON pointer (RFC 6901): of its key in a mapping, of the item in a sequence.
    pub(super) spots: BTreeMap<String, (u64, u64)>,
}

/// Why a text is no YAML.
#[derive(Debug)]
pub(super) struct NoYaml {
    /// Line and column.
    pub(super) spot: (u64, u64),
    /// The parser's words.
    pub(super) message: String,
}

/// The documents of a text; empty ones are left out.
pub(super) fn parse(text: &str) -> Result<Vec<Document>, NoYaml> {
    let options = serde_saphyr::options! { with_snippet: false };
    let nodes: Vec<Spanned<Node>> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| NoYaml::new(&error))?;
    Ok(nodes.into_iter().map(Document::new).collect())
}

impl Document {
    fn new(node: Spanned<Node>) -> Self {
        let mut spots = BTreeMap::from([(String::new(), spot(node.referenced))]);
        let value = node.value.flatten("", &mut spots);
        Self { value, spots }
    }
}

impl Document {
    /// The objects in a `List`, as `kubectl get -o yaml` writes several, each with its places; else the document itself.
    pub(super) fn objects(self) -> Vec<Self> {
        let Self { mut value, spots } = self;
        let is_list = value.get("kind").is_some_and(|kind| kind == "List");
        let Some(Value::Array(items)) = value.get_mut("items").filter(|_| is_list).map(Value::take) else {
            return vec![Self { value, spots }];
        };
        let mut objects: Vec<_> = items.into_iter().map(|value| Self { value, spots: BTreeMap::new() }).collect();
        for (pointer, spot) in spots {
            let Some(item) = pointer.strip_prefix("/items/") else { continue };
            let end = item.find('/').unwrap_or(item.len());
            if let Some(object) = item[..end].parse().ok().and_then(|at: usize| objects.get_mut(at)) {
                object.spots.insert(item[end..].to_owned(), spot);
            }
        }
        objects.into_iter().flat_map(Self::objects).collect()
    }
}

impl NoYaml {
    fn new(error: &serde_saphyr::Error) -> Self {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        let message = line.split_once(" at line ").map_or(line, |(message, _)| message).to_owned();
        Self { spot: error.location().map_or((1, 1), spot), message }
    }
}

fn spot(location: Location) -> (u64, u64) {
    (location.line(), location.column())
}

/// A YAML node whose parts know where they are.
enum Node {
    Scalar(Value),
    Sequence(Vec<Spanned<Self>>),
    Mapping(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Node {
    fn flatten(self, pointer: &str, spots: &mut BTreeMap<String, (u64, u64)>) -> Value {
        match self {
            Self::Scalar(value) => value,
            Self::Sequence(items) => items
                .into_iter()
                .enumerate()
                .map(|(at, item)| {
                    let pointer = format!("{pointer}/{at}");
                    spots.insert(pointer.clone(), spot(item.referenced));
                    item.value.flatten(&pointer, spots)
                })
                .collect(),
            Self::Mapping(entries) => entries
                .into_iter()
                .map(|(key, item)| {
                    let pointer = format!("{pointer}/{}", key.value.replace('~', "~0").replace('/', "~1"));
                    spots.insert(pointer.clone(), spot(key.referenced));
                    (key.value, item.value.flatten(&pointer, spots))
                })
                .collect(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar(Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Node::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut mapping: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = mapping.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_field_knows_its_line_and_column() {
        let documents = parse("a: 1\nb:\n  - x\n  - c/d: true\n---\n---\nz: null\n").unwrap();
        let values: Vec<_> = documents.iter().map(|document| &document.value).collect();
        assert_eq!(values, [&json!({"a": 1, "b": ["x", {"c/d": true}]}), &json!({"z": null})]);
        let spots = &documents[0].spots;
        let expected = [("", (1, 1)), ("/a", (1, 1)), ("/b", (2, 1)), ("/b/0", (3, 5)), ("/b/1", (4, 5))];
        for (pointer, spot) in expected.into_iter().chain([("/b/1/c~1d", (4, 5))]) {
            assert_eq!(spots.get(pointer), Some(&spot), "`{pointer}`");
        }
        assert_eq!(documents[1].spots.get("/z"), Some(&(7, 1)));
    }

    #[test]
    fn broken_yaml_is_placed() {
        let broken = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert_eq!(broken.spot.0, 3, "{broken:?}");
        let twice = parse("a: 1\na: 2\n").unwrap_err();
        assert_eq!(twice.spot, (2, 1), "{twice:?}");
        assert!(twice.message.contains("duplicate"), "{twice:?}");
    }
}
