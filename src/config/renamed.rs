//! Settings that had another name once: the old one still works, and says so.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// Old name and new name, each with its section (`limits.sessions`, `limits.sessions_max`). Both are of one section.
pub(super) const RENAMED: &[(&str, &str)] = &[];

/// What a setting is called now that had this name once.
pub(super) fn new_name(old: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(name, _)| *name == old).map(|(_, new)| *new)
}

/// A setting that stands under its old name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) old: &'static str,
    pub(super) new: &'static str,
    /// Where, in bytes from the start of the file.
    pub(super) at: usize,
    /// The new name is there as well.
    pub(super) is_double: bool,
}

/// Puts what stands under an old name under the new one; what is there already is left alone.
pub(super) fn rename(table: &mut DeTable<'_>, renamed: &[(&'static str, &'static str)]) -> Vec<Found> {
    let mut found = Vec::new();
    for &(old, new) in renamed {
        let (Some((section, old_key)), Some((_, new_key))) = (old.rsplit_once('.'), new.rsplit_once('.'))
        else {
            continue;
        };
        let inner =
            section.split('.').try_fold(&mut *table, |here, part| match here.get_mut(part)?.get_mut() {
                DeValue::Table(inner) => Some(inner),
                _ => None,
            });
        let Some(inner) = inner else { continue };
        let Some((name, value)) = inner.remove_entry(old_key) else { continue };
        let span = name.span();
        let is_double = inner.contains_key(new_key);
        found.push(Found { old, new, at: span.start, is_double });
        if !is_double {
            inner.insert(Spanned::new(span, (*new_key).into()), value);
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OLD: &[(&str, &str)] =
        &[("limits.sessions", "limits.sessions_max"), ("a.b.old", "a.b.new"), ("gone.x", "gone.y")];

    #[test]
    fn an_old_name_is_the_new_one_and_is_told_with_its_place() {
        let text = "[limits]\nsessions = 7\n[a.b]\nold = 1\nnew = 2\n";
        let mut table = DeTable::parse(text).unwrap().into_inner();
        let found = rename(&mut table, OLD);
        let at = |what: &str| text.find(what).unwrap_or_default();
        let told: Vec<_> = found.iter().map(|one| (one.new, one.at, one.is_double)).collect();
        assert_eq!(told, [("limits.sessions_max", at("sessions"), false), ("a.b.new", at("old"), true)]);
        let limits = table.get("limits").and_then(|limits| limits.get_ref().as_table()).unwrap();
        assert!(limits.contains_key("sessions_max") && !limits.contains_key("sessions"));
        assert!(rename(&mut table, OLD).is_empty());
    }
}
