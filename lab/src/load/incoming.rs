//! Messages of the server, as far as a client looks into them. The arguments are only read when somebody
//! asks for one: most messages are known by their name.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// One message: `{"message": NAME, "data": [ARGUMENTS]}`.
#[derive(Deserialize)]
pub(super) struct Incoming<'a> {
    #[serde(rename = "message", borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Incoming<'a> {
    /// # Errors
    /// It is no message.
    pub(super) fn read(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The arguments; none if they are not there.
    pub(super) fn arguments(&self) -> Arguments {
        let data = self.data.and_then(|data| serde_json::from_str(data.get()).ok());
        Arguments(match data {
            Some(Value::Array(arguments)) => arguments,
            _ => Vec::new(),
        })
    }
}

/// What came with a message.
pub(super) struct Arguments(Vec<Value>);

impl Arguments {
    /// The argument at `index`, if it is a text.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        self.0.get(index)?.as_str()
    }

    /// The text under `key` in the first argument.
    pub(super) fn field(&self, key: &str) -> Option<&str> {
        self.0.first()?.get(key)?.as_str()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_texts_and_fields_are_found() {
        let text = r#"{"data":["a","b\nc",1],"message":"setRemoteSDP","more":{}}"#;
        let message = Incoming::read(text).unwrap();
        assert_eq!(message.name, "setRemoteSDP");
        let arguments = message.arguments();
        assert_eq!((arguments.text(0), arguments.text(1)), (Some("a"), Some("b\nc")));
        assert_eq!((arguments.text(2), arguments.text(3), arguments.field("a")), (None, None, None));
        let text = r#"{"message":"notifyStreamStatusEvent","data":[{"status":"PLAYING","info":null}]}"#;
        let arguments = Incoming::read(text).unwrap().arguments();
        assert_eq!((arguments.field("status"), arguments.field("info")), (Some("PLAYING"), None));
    }

    #[test]
    fn what_is_no_message_is_told_and_arguments_may_be_missing() {
        for wrong in ["", "1", "{}", r#"{"data":[]}"#, r#"{"message":1}"#, r#"{"message":"a"#] {
            assert!(Incoming::read(wrong).is_err(), "{wrong}");
        }
        for bare in
            [r#"{"message":"ping"}"#, r#"{"message":"ping","data":null}"#, r#"{"message":"ping","data":{}}"#]
        {
            let message = Incoming::read(bare).unwrap();
            assert_eq!((&*message.name, message.arguments().text(0)), ("ping", None), "{bare}");
        }
    }
}
