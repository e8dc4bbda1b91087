//! Turns merged values into a [`Config`], and goes on after a fault to find the others.
//!
//! serde stops at the first error. So the value at fault is noted and left out, and the rest is read again, until
//! nothing is wrong with what remains. The types alone say what is right: a new key is a new field.

use std::collections::BTreeSet;

use figment::value::{Dict, Value};
use serde::{
    Deserialize, Deserializer,
    de::{
        DeserializeSeed, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::{BorrowedStrDeserializer, MapAccessDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    Config,
    fault::Fault,
    findings::{element, member, parent, quoted, within},
};

/// Nobody mends more in one go, and each costs another reading.
const MAX_FAULTS: usize = 100;

/// What could be read, and what could not.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// The configuration without what was at fault.
    pub(super) config: Option<Config>,
    /// What was at fault.
    pub(super) faults: Vec<Fault>,
    /// The keys that are not in `config`, because of a fault in them.
    pub(super) left_out: BTreeSet<String>,
}

/// Reads `root` as a configuration.
pub(super) fn extract(root: &Value) -> Extracted {
    let mut extracted = Extracted::default();
    while extracted.config.is_none() && extracted.faults.len() < MAX_FAULTS {
        match Config::deserialize(Node { value: root, key: String::new(), left_out: &extracted.left_out }) {
            Ok(config) => extracted.config = Some(config),
            Err(fault) => {
                let key = fault.finding.key.clone();
                // What was misspelt is not missing.
                if let Some(meant) = fault.meant {
                    extracted.left_out.insert(member(parent(&key), meant));
                }
                // Nor is it news that something is missing which was left out. But then what needs it is left out too.
                let missing = fault.missing.as_ref().map(|name| member(&key, name));
                let known = match missing {
                    Some(missing) => extracted.left_out.contains(&missing),
                    // A whole of which a part was left out may be wrong only because of that.
                    None => extracted.left_out.iter().any(|part| within(part, &key)),
                };
                if !known {
                    extracted.faults.push(fault);
                }
                // Without progress there is no end.
                if key.is_empty() || !extracted.left_out.insert(key) {
                    break;
                }
            }
        }
    }
    extracted
}

/// A value, and the key that it stands at.
#[derive(Clone, Debug)]
struct Node<'de> {
    value: &'de Value,
    key: String,
    left_out: &'de BTreeSet<String>,
}

impl<'de> Node<'de> {
    fn child(&self, key: String, value: &'de Value) -> Option<Self> {
        (!self.left_out.contains(&key)).then_some(Self { value, key, left_out: self.left_out })
    }

    /// Not inlined: there is a reader for each type of the configuration, and within each other they took half a megabyte.
    #[inline(never)]
    fn read<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let key = self.key.clone();
        seed.deserialize(self).map_err(|fault| fault.at(&key))
    }

    fn members(&self, map: &'de Dict) -> Children<'de, impl Iterator<Item = (&'de str, Self)>> {
        let members =
            map.iter().filter_map(|(name, value)| Some((name.as_str(), self.child(member(&self.key, name), value)?)));
        Children { nodes: members, next: None }
    }

    /// What was written for a scalar.
    fn text(&self) -> Option<String> {
        match self.value {
            Value::String(_, text) => Some(text.clone()),
            Value::Char(_, c) => Some(c.to_string()),
            Value::Bool(_, value) => Some(value.to_string()),
            Value::Num(_, number) => Some(match (number.to_u128_lossy(), number.to_i128()) {
                (Some(number), _) => number.to_string(),
                (None, Some(number)) => number.to_string(),
                (None, None) => number.to_f64().unwrap_or_default().to_string(),
            }),
            Value::Empty(..) | Value::Dict(..) | Value::Array(..) => None,
        }
    }

    fn visit<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        if matches!(self.value, Value::Array(..)) { self.visit_list(visitor) } else { self.visit_map(visitor) }
    }

    fn visit_map<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Dict(_, map) = self.value else { return self.visit_scalar(visitor) };
        visitor.visit_map(self.members(map))
    }

    fn visit_list<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        let Value::Array(_, list) = self.value else { return self.visit_scalar(visitor) };
        let elements = list.iter().enumerate().filter_map(|(i, value)| self.child(element(&self.key, i), value));
        visitor.visit_seq(Children { nodes: elements, next: None })
    }

    /// A map is no scalar, nor is a list: whoever can take one asks for it.
    fn visit_scalar<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            Value::String(_, text) => visitor.visit_borrowed_str(text),
            Value::Char(_, c) => visitor.visit_char(*c),
            Value::Bool(_, value) => visitor.visit_bool(*value),
            Value::Num(_, number) => {
                if let Some(number) = number.to_u128_lossy().and_then(|number| number.try_into().ok()) {
                    return visitor.visit_u64(number);
                }
                if let Some(number) = number.to_i128().and_then(|number| number.try_into().ok()) {
                    return visitor.visit_i64(number);
                }
                visitor.visit_f64(number.to_f64().unwrap_or_default())
            }
            Value::Empty(..) => visitor.visit_unit(),
            Value::Dict(..) => Err(Fault::invalid_type(Unexpected::Map, &visitor)),
            Value::Array(..) => Err(Fault::invalid_type(Unexpected::Seq, &visitor)),
        }
    }

    /// The value that the text of a scalar means to whoever wants a number or a boolean: `"8"` as well as `8`,
    /// because templates and the environment tend to quote.
    fn visit_meaning<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => match (text.parse::<u64>(), text.as_str()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (Err(_), "true") => visitor.visit_bool(true),
                (Err(_), "false") => visitor.visit_bool(false),
                (Err(_), _) => self.visit_scalar(visitor),
            },
            None => self.visit_scalar(visitor),
        }
    }

    fn visit_text<V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Some(text) => visitor.visit_string(text),
            None => self.visit_scalar(visitor),
        }
    }
}

/// Hands `$method` on to `$visit`.
macro_rules! deserialize {
    ($($method:ident)* => $visit:ident) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.$visit(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Fault;

    deserialize! { deserialize_any => visit }
    deserialize! { deserialize_map => visit_map }
    deserialize! { deserialize_seq => visit_list }
    deserialize! { deserialize_str deserialize_string deserialize_identifier => visit_text }
    deserialize! {
        deserialize_bool deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 => visit_meaning
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if matches!(self.value, Value::Empty(..)) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// From a map alone: a list of values in an order that nobody has written down is no way to write a configuration.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.visit_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        if let Some(text) = self.text() {
            return visitor.visit_enum(text.into_deserializer());
        }
        let map = self.value.as_dict().filter(|map| map.len() == 1);
        let Some((map, variant)) = map.and_then(|map| Some((map, map.keys().next()?))) else {
            return Err(Fault::custom(format!("this must be exactly one of {}", quoted(variants))));
        };
        if self.left_out.contains(&member(&self.key, variant)) {
            return Err(Fault::missing(variant));
        }
        visitor.visit_enum(MapAccessDeserializer::new(self.members(map)))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct ignored_any
    }
}

/// What a map or a list holds. Whatever is wrong with a value, or with the name of a member, is at its key.
struct Children<'de, I> {
    nodes: I,
    /// The value whose name was asked for.
    next: Option<Node<'de>>,
}

impl<'de, I: Iterator<Item = (&'de str, Node<'de>)>> MapAccess<'de> for Children<'de, I> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        let Some((name, node)) = self.nodes.next() else { return Ok(None) };
        let name = seed.deserialize(BorrowedStrDeserializer::new(name)).map_err(|fault: Fault| fault.at(&node.key))?;
        self.next = Some(node);
        Ok(Some(name))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let node = self.next.take().ok_or_else(|| Fault::custom("a value was asked for before its name"))?;
        node.read(seed)
    }
}

impl<'de, I: Iterator<Item = Node<'de>>> SeqAccess<'de> for Children<'de, I> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Fault> {
        self.nodes.next().map(|node| node.read(seed)).transpose()
    }
}
