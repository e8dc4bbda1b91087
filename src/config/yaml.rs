//! Reads YAML into values, and notes on which line each key stands.

#![expect(clippy::wildcard_enum_match_arm, reason = "the parser's events are not ours, and may become more")]

use std::collections::{BTreeMap, HashMap};

use figment::value::{Dict, Empty, Value};
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::findings::{Finding, element, member};

/// Collections within collections. The schema needs a handful.
const MAX_DEPTH: usize = 32;
/// Values in all, those that aliases repeat included.
const MAX_VALUES: usize = 100_000;

/// What a text says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// The value, unless the text says nothing.
    pub(super) value: Option<Value>,
    /// The line of each key, counted from 1.
    pub(super) lines: BTreeMap<String, usize>,
    /// What is wrong with it, and on which line, although it could be read.
    pub(super) findings: Vec<(usize, Finding)>,
}

/// Reads one document. JSON is YAML too.
///
/// # Errors
/// The first thing that the grammar or the limits forbid, with its line.
pub(super) fn parse(text: &str) -> Result<Document, (usize, Finding)> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        document: Document::default(),
        anchors: HashMap::new(),
        values: 0,
    };
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd | Event::StreamEnd => {}
            _ if reader.document.value.is_some() => {
                return fault(
                    &span,
                    "",
                    "a second document begins",
                    "a configuration is one document: take out the `---`",
                );
            }
            event => reader.document.value = Some(reader.value(event, &span, "", 0)?.0),
        }
    }
    Ok(reader.document)
}

/// The value that a plain scalar means.
///
/// What a number would not give back as it was written stays text: `1.20` may be a version, `007` a user. So
/// whoever wants text gets what the operator wrote, and whoever wants a number reads it from the text.
pub(super) fn scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::from(Empty::None),
        "true" => return Value::from(true),
        "false" => return Value::from(false),
        _ => {}
    }
    if let Some(number) = text.parse::<u64>().ok().filter(|number| number.to_string() == text) {
        return Value::from(number);
    }
    if let Some(number) = text.parse::<i64>().ok().filter(|number| number.to_string() == text) {
        return Value::from(number);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && number.to_string() == text => Value::from(number),
        _ => Value::from(text),
    }
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    document: Document,
    /// What each anchor stands for, and how many values that is.
    anchors: HashMap<usize, (Value, usize)>,
    values: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, (usize, Finding)> {
        self.events.next().transpose().map_err(|error: ScanError| {
            (error.marker().line(), Finding::new("", format!("this is not YAML: {}", error.info()), ""))
        })
    }

    /// The value that begins with `event`, and the number of values in it.
    fn value(
        &mut self,
        event: Event<'t>,
        span: &Span,
        key: &str,
        depth: usize,
    ) -> Result<(Value, usize), (usize, Finding)> {
        if depth > MAX_DEPTH {
            return fault(span, key, format!("this is nested more than {MAX_DEPTH} levels deep"), "");
        }
        if let Event::Alias(id) = event {
            let Some((value, size)) = self.anchors.get(&id) else {
                return fault(span, key, "an anchor that contains itself", "");
            };
            let (value, size) = (value.clone(), *size);
            self.count(size, span, key)?;
            return Ok((value, size));
        }
        self.count(1, span, key)?;
        let before = self.values;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => match tag {
                None if style == ScalarStyle::Plain => (scalar(&text), anchor),
                Some(tag) if tag.core_suffix() != Some("str") => return self.tagged(span, key),
                _ => (Value::from(&*text), anchor),
            },
            Event::SequenceStart(_, anchor, None) => (self.list(key, depth)?, anchor),
            Event::MappingStart(_, anchor, None) => (self.map(key, depth)?, anchor),
            _ => return self.tagged(span, key),
        };
        let size = 1 + self.values - before;
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok((value, size))
    }

    fn list(&mut self, key: &str, depth: usize) -> Result<Value, (usize, Finding)> {
        let mut list = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            let place = element(key, list.len());
            self.document.lines.insert(place.clone(), span.start.line());
            list.push(self.value(event, &span, &place, depth + 1)?.0);
        }
        Ok(Value::from(list))
    }

    fn map(&mut self, key: &str, depth: usize) -> Result<Value, (usize, Finding)> {
        let mut map = Dict::new();
        while let Some((event, span)) = self.next()? {
            let name = match event {
                Event::MappingEnd => break,
                Event::Scalar(name, ..) => name.into_owned(),
                _ => return fault(&span, key, "a key is a text, not a list, a map or an alias", ""),
            };
            let place = member(key, &name);
            let line = span.start.line();
            if let Some(first) = self.document.lines.insert(place.clone(), line) {
                let what = format!("`{name}` is given a second time; the first is on line {first}");
                self.document.findings.push((line, Finding::new(place.clone(), what, "keep one of them")));
            }
            let Some((event, span)) = self.next()? else { break };
            map.insert(name, self.value(event, &span, &place, depth + 1)?.0);
        }
        Ok(Value::from(map))
    }

    fn count(&mut self, more: usize, span: &Span, key: &str) -> Result<(), (usize, Finding)> {
        self.values += more;
        if self.values > MAX_VALUES {
            return fault(
                span,
                key,
                format!("there are more than {MAX_VALUES} values, those that aliases repeat included"),
                "",
            );
        }
        Ok(())
    }

    fn tagged<T>(&self, span: &Span, key: &str) -> Result<T, (usize, Finding)> {
        fault(span, key, "YAML tags are not understood here", "write the value without a `!tag`")
    }
}

fn fault<T>(span: &Span, key: &str, what: impl Into<String>, remedy: &str) -> Result<T, (usize, Finding)> {
    Err((span.start.line(), Finding::new(key, what, remedy)))
}
