//! The XML of IAM and STS: elements with either children or text.

use quick_xml::Reader;
use quick_xml::escape::escape;
use quick_xml::events::Event;

/// An XML element. It has no `Debug`, because it may contain a secret.
#[derive(Clone, Default)]
pub(super) struct Element {
    pub name: String,
    pub namespace: Option<&'static str>,
    pub text: String,
    pub children: Vec<Self>,
}

impl Element {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// Adds a child element with text.
    pub fn with(mut self, name: &str, text: impl Into<String>) -> Self {
        self.children.push(Self {
            text: text.into(),
            ..Self::new(name)
        });
        self
    }

    /// Adds a child element with text, if there is a text.
    pub fn with_some(self, name: &str, text: Option<impl Into<String>>) -> Self {
        match text {
            Some(text) => self.with(name, text),
            None => self,
        }
    }

    pub fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Adds a list: `<name><member>…</member>…</name>`.
    pub fn list(self, name: &str, members: impl IntoIterator<Item = Self>) -> Self {
        let mut list = Self::new(name);
        for member in members {
            list.children.push(Self {
                name: "member".to_owned(),
                ..member
            });
        }
        self.child(list)
    }

    pub fn render(&self) -> String {
        let mut out = String::new();
        self.render_into(&mut out);
        out
    }

    fn render_into(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        if let Some(namespace) = self.namespace {
            out.push_str(&format!(" xmlns=\"{namespace}\""));
        }
        out.push('>');
        out.push_str(&escape(printable(&self.text).as_str()));
        for child in &self.children {
            child.render_into(out);
        }
        out.push_str(&format!("</{}>", self.name));
    }

    /// Follows a path of names below this element, taking the first child of each name.
    pub fn get(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |at, name| {
            at.children.iter().find(|c| c.name == *name)
        })
    }

    /// Parses a document and returns its root element. Attributes are ignored.
    ///
    /// # Errors
    /// The document is not well-formed.
    pub fn parse(text: &str) -> Result<Self, quick_xml::Error> {
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event()? {
                Event::Start(tag) => {
                    let name = String::from_utf8_lossy(tag.local_name().as_ref()).into_owned();
                    open.push(Self::new(name));
                }
                Event::Empty(tag) => {
                    let name = String::from_utf8_lossy(tag.local_name().as_ref()).into_owned();
                    if let Some(parent) = open.last_mut() {
                        parent.children.push(Self::new(name));
                    }
                }
                Event::End(_) => {
                    if let (Some(done), Some(parent)) = (open.pop(), open.last_mut()) {
                        parent.children.push(done);
                    }
                }
                Event::Text(found) => {
                    if let Some(at) = open.last_mut() {
                        at.text.push_str(&String::from_utf8_lossy(&found));
                    }
                }
                Event::GeneralRef(found) => {
                    if let Some(at) = open.last_mut() {
                        let entity = format!("&{};", String::from_utf8_lossy(&found));
                        at.text.push_str(&quick_xml::escape::unescape(&entity)?);
                    }
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let root = open.into_iter().next().unwrap_or_default();
        Ok(root.children.into_iter().next().unwrap_or_default())
    }
}

/// Replaces the characters that XML 1.0 cannot represent in any form: most control characters.
fn printable(text: &str) -> String {
    let allowed = |c: char| c >= ' ' && c != '\u{fffe}' && c != '\u{ffff}' || "\t\n\r".contains(c);
    text.chars()
        .map(|c| if allowed(c) { c } else { '\u{fffd}' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let element = Element::new("R").with("A", "<é> & \"'\u{1}").list(
            "L",
            [
                Element::new("").with("N", "1"),
                Element::new("").with("N", "2"),
            ],
        );
        let read = Element::parse(&element.render()).expect("XML");
        assert_eq!(read.get(&["A"]).expect("A").text, "<é> & \"'\u{fffd}");
        assert_eq!(read.get(&["L", "member", "N"]).expect("N").text, "1");
        assert!(read.get(&["X"]).is_none());
        assert!(Element::parse("<a><b></a>").is_err());
    }
}
