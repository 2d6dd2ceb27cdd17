//! Secrets in files that a key names: `rabbitmq.url_file` in place of `rabbitmq.url`, for every key that is a secret.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::read;
use super::key::Key;
use super::problem::Problem;

/// What the name of a secret's key ends with where a file holds the value.
pub(super) const SUFFIX: &str = "_file";

/// What stands in the name of a source between the file and who names it.
const NAMED: &str = ", which ";

/// The file that holds a value, by the name of its source; none where no key names one.
pub(super) fn path_of(source: &str) -> Option<&Path> {
    source.rsplit_once(NAMED).map(|(path, _)| Path::new(path))
}

/// Which layer gave each secret last, and whether by a file. A file is read when no layer above it gives the value:
/// one that does not count need not be there.
#[derive(Default)]
pub(super) struct SecretFiles {
    layer: u32,
    given: BTreeMap<&'static str, Given>,
}

struct Given {
    layer: u32,
    source: String,
    key: &'static Key,
    /// The file that holds it; none where the value itself was given.
    file: Option<String>,
}

/// A secret as a file holds it.
pub(super) struct Found {
    pub key: &'static Key,
    /// The file, and who named it.
    pub source: String,
    pub text: String,
}

impl SecretFiles {
    /// What follows comes from the next layer above.
    pub fn next_layer(&mut self) {
        self.layer += 1;
    }

    /// The layer gives the value itself.
    ///
    /// # Errors
    /// When it names a file, too.
    pub fn value(&mut self, key: &'static Key, source: &str) -> Result<(), Problem> {
        self.give(key, source, None)
    }

    /// The layer names the file that holds the value.
    ///
    /// # Errors
    /// When it gives the value itself, too.
    pub fn file(&mut self, key: &'static Key, source: &str, path: &str) -> Result<(), Problem> {
        self.give(key, source, Some(path.to_owned()))
    }

    /// The layer gives an empty value, which is none: what the layers below said is forgotten.
    pub fn unset(&mut self, key: &Key) {
        if self.given.get(key.path).is_some_and(|given| given.layer < self.layer) {
            self.given.remove(key.path);
        }
    }

    /// The layer names an empty path, which is none: a file that was named before is forgotten.
    pub fn unset_file(&mut self, key: &Key) {
        if self.given.get(key.path).is_some_and(|given| given.file.is_some()) {
            self.given.remove(key.path);
        }
    }

    fn give(
        &mut self,
        key: &'static Key,
        source: &str,
        file: Option<String>,
    ) -> Result<(), Problem> {
        let given = Given { layer: self.layer, source: source.to_owned(), key, file };
        let by_file = given.file.is_some();
        match self.given.insert(key.path, given) {
            Some(before) if before.layer == self.layer && before.file.is_some() != by_file => {
                let sources = if before.source == source {
                    source.to_owned()
                } else {
                    format!("{} and {source}", before.source)
                };
                let what = format!("{} is given beside it; leave out one of the two", key.path);
                Err(Problem::new(&format!("{}{SUFFIX}", key.path), &what, "", &sources))
            }
            _ => Ok(()),
        }
    }

    /// Reads the files that count, in the order of their keys.
    pub fn read(self) -> impl Iterator<Item = Result<Found, Problem>> {
        self.given.into_values().filter_map(|Given { key, source, file, .. }| {
            let path = file?;
            let said = match read(Path::new(&path)) {
                Ok(text) if text.trim_end().is_empty() => "the file is empty".to_owned(),
                Ok(text) => {
                    let source = format!("{path}{NAMED}{source} names");
                    return Some(Ok(Found { key, source, text: text.trim_end().to_owned() }));
                }
                Err(unread) => unread.to_string(),
            };
            Some(Err(not_a_file(key, &format!("{path}: {said}"), &source)))
        })
    }
}

/// What is said of something else than a file that holds the value.
pub(super) fn not_a_file(key: &Key, what: &str, source: &str) -> Problem {
    let allowed = format!(
        "the absolute path of a file that holds {} and that the user of this process may read",
        key.path
    );
    Problem::new(&format!("{}{SUFFIX}", key.path), what, &allowed, source)
}
