//! Metrics, read from the text that Prometheus would scrape.

use std::collections::BTreeMap;

/// All series of one scrape.
pub(crate) struct Exposition(Vec<Series>);

struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Exposition {
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(parse_line).collect())
    }

    /// The sum of all series of this name that have these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &&Series| labels.iter().all(|(k, v)| series.labels.get(*k).is_some_and(|value| value == v));
        self.0.iter().filter(|series| series.name == name).filter(has).map(|series| series.value).sum()
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The names that there are.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|series| series.name.as_str()).collect()
    }

    /// Every value of every label.
    pub(crate) fn label_values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|series| series.labels.values()).map(String::as_str)
    }
}

fn parse_line(line: &str) -> Series {
    // No label of ours has a brace or a quote in it; a line that has is a finding.
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line}"));
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("unbalanced {line}"));
    let labels = labels.split("\",").filter(|label| !label.is_empty()).map(|label| {
        let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("no label in {line}"));
        (key.to_owned(), value.trim_end_matches('"').to_owned())
    });
    let value = value.parse().unwrap_or_else(|_| panic!("no number in {line}"));
    Series { name: name.to_owned(), labels: labels.collect(), value }
}
