//! `control` in the data folder: how a command on the same machine reaches the server that has the folder.
//!
//! Owns: that file. Must never know: what is asked of the server with it. Only the owner can read it: who can read the data
//! may also look after it.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

const FILE: &str = "control";
const TEMPORARY: &str = "control.new";
/// Largest file that is looked into, in bytes.
const BYTES_MAX: u64 = 4_096;

/// Where the server is, and what it takes for the owner of its data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// An address of this machine on which the server listens.
    pub address: SocketAddr,
    /// Whether TLS is spoken there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// For `Authorization: Bearer`. Good as long as the server runs.
    pub token: String,
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Writes the file, readable by its owner only, as a whole or not at all. Not synced: it is about a process that a power
/// cut ends too. Its address is where a client on this machine connects to, so not an unspecified one.
///
/// # Errors
/// What the operating system said.
pub fn write(data: &Path, control: &Control) -> io::Result<()> {
    let text = serde_json::to_string(control).map_err(io::Error::other)?;
    let temporary = data.join(TEMPORARY);
    // What an earlier process left may have other rights.
    remove_file(&temporary)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n"))?;
    fs::rename(&temporary, data.join(FILE))
}

/// Removes the file; it is no error if there is none.
///
/// # Errors
/// What the operating system said.
pub fn remove(data: &Path) -> io::Result<()> {
    remove_file(&data.join(FILE))
}

/// Reads the file. After a crash it may tell of a server that is gone: the folder's lock says whether one runs.
///
/// # Errors
/// There is none, or it is not what [`write`] writes.
pub fn read(data: &Path) -> io::Result<Control> {
    let path = data.join(FILE);
    if fs::metadata(&path)?.len() > BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // What is in it is not told, it is a secret.
    serde_json::from_slice(&fs::read(&path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is damaged"))
}

fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read_by_its_owner_only_and_shown_to_nobody() {
        let data = std::env::temp_dir().join(format!("roomlog-control-{}", std::process::id()));
        fs::create_dir_all(&data).expect("a folder");
        let address: SocketAddr = "127.0.0.1:8080".parse().expect("an address");
        assert_eq!(read(&data).expect_err("none yet").kind(), io::ErrorKind::NotFound);
        fs::write(data.join(TEMPORARY), "left by a crash, for all to read").expect("a file");
        for (token, tls) in [("first", false), ("second", true)] {
            let written = Control { address, tls, token: token.to_owned() };
            write(&data, &written).expect("it is written");
            let control = read(&data).expect("it is read");
            assert_eq!(control, written);
            assert!(!format!("{control:?}").contains(token));
        }
        let mode = fs::metadata(data.join(FILE)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(data.join(FILE), "{").expect("a file");
        assert_eq!(read(&data).expect_err("damaged").kind(), io::ErrorKind::InvalidData);
        remove(&data).and_then(|()| remove(&data)).expect("gone, and still gone");
        assert_eq!(fs::read_dir(&data).expect("a folder").count(), 0);
        fs::remove_dir(&data).expect("an empty folder");
    }
}
