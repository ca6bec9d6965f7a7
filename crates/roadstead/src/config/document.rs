//! A configuration as a tree of text with the place each value came from: what the YAML file, the environment
//! and the flags are poured into before any of it is given a type.
//!
//! Scalars keep the text as it was written. A secret `0123` or a version `1.10` must not pass through a number,
//! so the YAML events are read directly instead of through a typed deserializer. Absent: merge keys, custom tags.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use super::report::{Origin, Report};

/// Nesting deeper than any configuration has.
const DEPTH: usize = 32;
/// More nodes than any configuration has; bounds what aliases can multiply to.
const NODES: usize = 20_000;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn scalar(text: impl Into<String>, origin: Origin) -> Self {
        Self { content: Content::Scalar(text.into()), origin }
    }

    pub(super) fn empty() -> Self {
        Self { content: Content::Map(Vec::new()), origin: Origin::Default }
    }

    /// The value under a dotted path.
    pub(super) fn get(&self, path: &str) -> Option<&Node> {
        path.split('.').try_fold(self, |node, key| match &node.content {
            Content::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        })
    }

    /// Takes the value under a dotted path out of the tree, and the maps that this leaves empty.
    pub(super) fn take(&mut self, path: &str) -> Option<Node> {
        let Content::Map(entries) = &mut self.content else { return None };
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        let index = entries.iter().position(|(name, _)| name == key)?;
        let Some(rest) = rest else { return Some(entries.remove(index).1) };
        let (_, child) = entries.get_mut(index)?;
        let taken = child.take(rest)?;
        if matches!(&child.content, Content::Map(left) if left.is_empty()) {
            entries.remove(index);
        }
        Some(taken)
    }

    /// Puts a value under a dotted path, replacing what stands there or in its way.
    pub(super) fn put(&mut self, path: &str, value: Node) {
        if !matches!(self.content, Content::Map(_)) {
            self.content = Content::Map(Vec::new());
            self.origin = value.origin.clone();
        }
        let Content::Map(entries) = &mut self.content else { return };
        let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
        let index = entries.iter().position(|(name, _)| name == key).unwrap_or_else(|| {
            entries.push((key.to_owned(), Node { content: Content::Null, origin: value.origin.clone() }));
            entries.len() - 1
        });
        let Some((_, child)) = entries.get_mut(index) else { return };
        match rest {
            Some(rest) => child.put(rest, value),
            None => *child = value,
        }
    }
}

/// Reads YAML text. What is wrong with it goes to `report`; the answer is what could be understood.
pub(super) fn parse(text: &str, report: &mut Report) -> Node {
    let mut builder = Builder { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0, report };
    match builder.document() {
        Ok(node) => node,
        Err(stop) => {
            report.error(&stop.origin, "", stop.text);
            Node::empty()
        }
    }
}

/// Why reading cannot go on.
struct Stop {
    origin: Origin,
    text: String,
}

struct Builder<'a, 'r> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    report: &'r mut Report,
}

fn origin(span: &Span) -> Origin {
    Origin::File { line: span.start.line(), column: span.start.col() + 1 }
}

impl<'a> Builder<'a, '_> {
    fn next(&mut self) -> Result<(Event<'a>, Origin), Stop> {
        match self.parser.next() {
            Some(Ok((event, span))) => Ok((event, origin(&span))),
            Some(Err(error)) => {
                let marker = error.marker();
                let origin = Origin::File { line: marker.line(), column: marker.col() + 1 };
                Err(Stop { origin, text: format!("not YAML: {}", error.info()) })
            }
            None => Ok((Event::StreamEnd, Origin::Default)),
        }
    }

    fn document(&mut self) -> Result<Node, Stop> {
        let mut root = None;
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(root.unwrap_or_else(Node::empty)),
                (_, origin) if root.is_some() => {
                    return Err(Stop {
                        origin,
                        text: "a second document: a configuration is one YAML document".into(),
                    });
                }
                (event, origin) => {
                    let node = self.node(event, origin.clone(), "", 0)?;
                    root = Some(match node.content {
                        Content::Map(_) => node,
                        Content::Null => Node::empty(),
                        _ => {
                            return Err(Stop { origin, text: "a configuration is a mapping of keys to values".into() });
                        }
                    });
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, origin: Origin, path: &str, depth: usize) -> Result<Node, Stop> {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Err(Stop { origin, text: "nested too deep or too large for a configuration".into() });
        }
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::SequenceStart(_, anchor, _) => (self.list(path, depth)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map(path, depth)?, anchor),
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Stop { origin, text: "an alias inside of its own anchor".into() });
                };
                self.nodes += count(&node);
                (node.content, 0)
            }
            _ => return Err(Stop { origin, text: "not YAML: a value was expected".into() }),
        };
        let node = Node { content, origin };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, path: &str, depth: usize) -> Result<Content, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                (event, origin) => items.push(self.node(event, origin, path, depth + 1)?),
            }
        }
    }

    fn map(&mut self, path: &str, depth: usize) -> Result<Content, Stop> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        loop {
            let (key, at) = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Content::Map(entries)),
                (Event::Scalar(key, ..), at) => (key.into_owned(), at),
                (_, origin) => return Err(Stop { origin, text: "a key must be plain text".into() }),
            };
            let full = join(path, &key);
            let (event, origin) = self.next()?;
            let mut value = self.node(event, origin, &full, depth + 1)?;
            // A finding about the key is best read at the key.
            value.origin = at.clone();
            if entries.iter().any(|(name, _)| *name == key) {
                self.report.error(&at, full, "stands twice; remove one");
            } else {
                entries.push((key, value));
            }
        }
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Content {
    let null = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    if null { Content::Null } else { Content::Scalar(text.to_owned()) }
}

fn count(node: &Node) -> usize {
    match &node.content {
        Content::Null | Content::Scalar(_) => 1,
        Content::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Content::Map(entries) => 1 + entries.iter().map(|(_, value)| count(value)).sum::<usize>(),
    }
}

/// `parent.key`, or `key` at the top.
pub(super) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}
