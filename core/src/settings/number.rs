//! Numbers of the configuration file: read with their bounds, so that a value out of range is an
//! error at its line. Knows nothing about what the numbers are for.

use std::{fmt, time::Duration};

use serde::{
    Deserializer, Serializer,
    de::{self, Unexpected, Visitor},
};

/// A duration written as whole milliseconds between `MIN` and `MAX`; for `#[serde(with = ..)]`.
pub struct Ms<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Ms<MIN, MAX> {
    /// For serde: reads a number and says its range where it is out of it.
    ///
    /// # Errors
    /// No whole number, or one out of range.
    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
        let range = Range { min: MIN, max: MAX, what: "milliseconds" };
        input.deserialize_i64(range).map(Duration::from_millis)
    }

    /// For serde.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S: Serializer>(value: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A plain whole number between `MIN` and `MAX`; for `#[serde(with = ..)]`.
pub struct Between<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> Between<MIN, MAX> {
    /// For serde: reads a number and says its range where it is out of it.
    ///
    /// # Errors
    /// No whole number, or one out of range.
    pub fn deserialize<'de, D, T>(input: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<u64>,
    {
        let range = Range { min: MIN, max: MAX, what: "" };
        let value = input.deserialize_i64(range)?;
        T::try_from(value).map_err(|_| {
            de::Error::invalid_value(Unexpected::Unsigned(value), &"a number this machine can hold")
        })
    }

    /// For serde.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S, T>(value: &T, out: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: serde::Serialize,
    {
        value.serialize(out)
    }
}

/// As [`Between`], for a setting that may be left out.
pub struct MaybeBetween<const MIN: u64, const MAX: u64>;

impl<const MIN: u64, const MAX: u64> MaybeBetween<MIN, MAX> {
    /// For serde: reads a number and says its range where it is out of it.
    ///
    /// # Errors
    /// No whole number, or one out of range.
    pub fn deserialize<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: TryFrom<u64>,
    {
        Between::<MIN, MAX>::deserialize(input).map(Some)
    }

    /// For serde.
    ///
    /// # Errors
    /// The serializer's own.
    pub fn serialize<S, T>(value: &Option<T>, out: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: serde::Serialize,
    {
        serde::Serialize::serialize(value, out)
    }
}

struct Range {
    min: u64,
    max: u64,
    what: &'static str,
}

impl Range {
    fn check<E: de::Error>(&self, value: u64, seen: Unexpected<'_>) -> Result<u64, E> {
        if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(E::invalid_value(seen, self)) }
    }
}

impl Visitor<'_> for Range {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number ")?;
        if !self.what.is_empty() {
            write!(f, "of {} ", self.what)?;
        }
        write!(f, "from {} to {}", self.min, self.max)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
        self.check(value, Unexpected::Unsigned(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u64, E> {
        match u64::try_from(value) {
            Ok(value) => self.check(value, Unexpected::Unsigned(value)),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(value), &self)),
        }
    }
}
