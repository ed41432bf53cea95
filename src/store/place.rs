//! What tells one directory of large bodies from another. A store remembers the one that it began with: in another its
//! bodies would not be found, and in one that it has left nobody would ever remove what has expired.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::{Result, StoreError, random};
use crate::crash;

/// The file that holds it, in the directory.
const NAME: &str = "blobs.id";
const MODE: u32 = 0o600;

/// The id of this directory; made if it has none. When this returns, it would survive a power cut.
pub(super) fn id(dir: &Path) -> Result<String> {
    let failed = |error: io::Error| StoreError::Unavailable(format!("{}: {error}", dir.join(NAME).display()));
    let known = || match fs::read_to_string(dir.join(NAME)) {
        Ok(id) => Ok(Some(id.trim_end().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    };
    if known()?.is_none() {
        make(dir, &hex::encode(random::<16>()?)).map_err(failed)?;
        crash::point("blobs.marked");
    }
    known()?.ok_or_else(|| failed(ErrorKind::NotFound.into()))
}

/// Whether the directory is still the one of this id.
pub(super) fn still(dir: &Path, id: &str) -> Result<()> {
    let known = fs::read_to_string(dir.join(NAME)).unwrap_or_default();
    let is_it = known.trim_end() == id;
    let told = || format!("{} no longer says {id}; is it mounted?", dir.join(NAME).display());
    if is_it { Ok(()) } else { Err(StoreError::Unavailable(told())) }
}

/// Nobody sees a part of it, and of several that make it at once the first is heard.
fn make(dir: &Path, id: &str) -> io::Result<()> {
    let new = dir.join(format!("{NAME}.{id}"));
    let mut file = File::options().write(true).create_new(true).mode(MODE).open(&new)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    let made = fs::hard_link(&new, dir.join(NAME));
    fs::remove_file(&new)?;
    made.or_else(|error| if error.kind() == ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })?;
    File::open(dir)?.sync_all()
}

/// Holds the directory against the one that the store began with.
///
/// # Errors
/// [`StoreError::Refused`] when it is another, or none.
pub(super) fn check(dir: Option<(&Path, &str)>, known: &str) -> Result<()> {
    let told = match dir {
        Some((_, id)) if id == known => return Ok(()),
        Some((dir, id)) => format!("`{}` is another directory (its {NAME} says {id}) than", dir.display()),
        None => "is not set, and there is".to_owned(),
    };
    Err(StoreError::Refused(format!(
        "store.blobs: {told} the one that holds the large bodies of this store, whose {NAME} says {known}; set the key to \
         that one, or move all that is in it to the new one, {NAME} too"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_id() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let first = id(one.path()).unwrap();
        make(one.path(), "late").unwrap();
        assert_eq!((id(one.path()).unwrap(), first.len()), (first.clone(), 32));
        assert_ne!(id(other.path()).unwrap(), first);
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_refusal_names_key_value_and_remedy() {
        check(Some((Path::new("/a"), "1")), "1").unwrap();
        for (dir, value) in [(Some((Path::new("/a"), "1")), "`/a`"), (None, "not set")] {
            let told = check(dir, "2").unwrap_err().to_string();
            for part in ["store.blobs", value, "says 2", "move all"] {
                assert!(told.contains(part), "{told}");
            }
        }
    }
}
