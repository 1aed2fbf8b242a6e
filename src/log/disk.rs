//! The disk as the log sees it: a few calls behind two traits, so that a simulated disk can take the real one's place.
//!
//! Owns: system calls. Must never know: records, rooms, policies.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{FlockOperation, flock, fstatfs, syncfs};
use rustix::system::uname;

/// File systems whose `syncfs` is known to do all that their `fdatasync` does: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs
/// (`statfs(2)`). A network or FUSE file system may only write back.
const SYNCFS_IS_ENOUGH: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];

/// A file system. Paths are used as given.
pub trait Disk: Send + Sync + 'static {
    /// An open file; closed when dropped.
    type File: DiskFile;
    /// A handle on a whole file system.
    type FileSystem: FileSystem;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Creates a file for reading and writing; `AlreadyExists` when it is there.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Creates a folder and those above it; tells whether it was not there before.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;
    /// Names of the entries of a folder, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<String>>;
    /// Size of a file in bytes.
    fn len(&self, path: &Path) -> io::Result<u64>;
    /// Renames a file, replacing what has the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Lets nobody but the owner into a folder.
    fn make_private(&self, path: &Path) -> io::Result<()>;
    /// Makes a folder's entries durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The file system that holds the folder `path`.
    fn file_system(&self, path: &Path) -> io::Result<Self::FileSystem>;
    /// Names the time since the machine was started: what was written under the same number is still in the page cache.
    /// 0 when unknown.
    fn boot_id(&self) -> u64;
}

/// A file system that can be made durable as a whole.
pub trait FileSystem: Send + Sync + 'static {
    /// Makes everything on it durable, other programs' files included. Fails if anything could not be written since the
    /// handle was made or this was last called.
    fn sync(&self) -> io::Result<()>;
    /// Whether `sync` without an error says for a file of device `device` what a sync of its own would.
    fn answers_for(&self, device: u64) -> bool;
}

/// An open file. All calls take `&self`: one thread may sync while another reads.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads at `offset`; fewer bytes than asked for mean little, 0 means the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at `offset`; may write less.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Size in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Cuts or extends the file.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Makes the file's bytes and size durable, not its name.
    fn sync_data(&self) -> io::Result<()>;
    /// A text that differs between a file and any copy of it, and survives renaming.
    fn identity(&self) -> io::Result<String>;
    /// The device that the file is on.
    fn device(&self) -> io::Result<u64>;
    /// Takes the file's exclusive lock until it is closed; `false` when another process has it.
    fn try_lock(&self) -> io::Result<bool>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// An open folder, which stands for the file system it is on.
#[derive(Debug)]
pub struct RealFileSystem {
    folder: File,
    /// The device for whose files `syncfs` is enough, if it is for any.
    device: Option<u64>,
}

impl FileSystem for RealFileSystem {
    fn sync(&self) -> io::Result<()> {
        Ok(syncfs(&self.folder)?)
    }

    fn answers_for(&self, device: u64) -> bool {
        self.device == Some(device)
    }
}

/// Since Linux 5.8 `syncfs` fails when anything could not be written (syncfs(2)).
fn syncfs_tells_errors() -> bool {
    let uname = uname();
    let mut numbers = uname.release().to_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok()).unwrap_or(0);
    cfg!(target_os = "linux") && (next(), next()) >= (5, 8)
}

impl Disk for RealDisk {
    type File = File;
    type FileSystem = RealFileSystem;

    fn open(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        match std::fs::create_dir(path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(path).map(|()| true),
            Err(e) => Err(e),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        Ok(std::fs::metadata(path)?.len())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn make_private(&self, path: &Path) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(0o700))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn file_system(&self, path: &Path) -> io::Result<RealFileSystem> {
        let folder = File::open(path)?;
        let kind = fstatfs(&folder)?.f_type as u64;
        let is_known = SYNCFS_IS_ENOUGH.contains(&kind) && syncfs_tells_errors();
        let device = if is_known { Some(folder.metadata()?.dev()) } else { None };
        Ok(RealFileSystem { folder, device })
    }

    fn boot_id(&self) -> u64 {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let hex: String = text.chars().filter(char::is_ascii_hexdigit).take(16).collect();
        u64::from_str_radix(&hex, 16).unwrap_or(0)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn identity(&self) -> io::Result<String> {
        let metadata = self.metadata()?;
        // Inode numbers are reused; the birth time tells a reused one. File systems without birth times count as 0.
        let born = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(format!("{}:{}", metadata.ino(), born.map_or(0, |at| at.as_nanos())))
    }

    fn device(&self) -> io::Result<u64> {
        Ok(self.metadata()?.dev())
    }

    fn try_lock(&self) -> io::Result<bool> {
        match flock(self, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

/// Whether an error means "no space", which passes, and not "broken", which does not.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Reads until `buffer` is full or the file ends; returns the bytes read.
pub(crate) fn read_full(file: &impl DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Writes all of `bytes`; on an error returns how many bytes went out before it.
pub(crate) fn write_full(file: &impl DiskFile, bytes: &[u8], offset: u64) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], offset + written as u64) {
            Ok(0) => return Err((written, io::ErrorKind::StorageFull.into())),
            Ok(n) => written += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err((written, e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::*;

    /// A file whose reads and writes go as they are told to; what is written is lost.
    struct Told(Mutex<VecDeque<io::Result<usize>>>, Mutex<Vec<(usize, u64)>>);

    impl Told {
        fn new(results: impl IntoIterator<Item = io::Result<usize>>) -> Told {
            Told(Mutex::new(results.into_iter().collect()), Mutex::default())
        }

        fn call(&self, bytes: usize, offset: u64) -> io::Result<usize> {
            self.1.lock().unwrap().push((bytes, offset));
            self.0.lock().unwrap().pop_front().expect("one call too many")
        }

        /// The calls so far: how many bytes at which offset.
        fn calls(self) -> Vec<(usize, u64)> {
            assert!(self.0.into_inner().unwrap().is_empty(), "too few calls");
            self.1.into_inner().unwrap()
        }
    }

    impl DiskFile for Told {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.call(buffer.len(), offset)
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            self.call(bytes.len(), offset)
        }

        fn len(&self) -> io::Result<u64> {
            unreachable!()
        }

        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!()
        }

        fn sync_data(&self) -> io::Result<()> {
            unreachable!()
        }

        fn identity(&self) -> io::Result<String> {
            unreachable!()
        }

        fn device(&self) -> io::Result<u64> {
            unreachable!()
        }

        fn try_lock(&self) -> io::Result<bool> {
            unreachable!()
        }
    }

    fn fails(kind: io::ErrorKind) -> io::Result<usize> {
        Err(kind.into())
    }

    #[test]
    fn what_is_read_or_written_in_part_or_interrupted_goes_on_where_it_was() {
        let results = || [Ok(4), fails(io::ErrorKind::Interrupted), Ok(5), Ok(1)];
        let calls = [(10, 100), (6, 104), (6, 104), (1, 109)];
        let file = Told::new(results());
        assert_eq!(read_full(&file, &mut [0; 10], 100).unwrap(), 10);
        assert_eq!(file.calls(), calls);
        let file = Told::new(results());
        write_full(&file, &[0; 10], 100).unwrap();
        assert_eq!(file.calls(), calls);
    }

    #[test]
    fn a_read_ends_with_the_file_or_an_error() {
        assert_eq!(read_full(&Told::new([Ok(4), Ok(0)]), &mut [0; 10], 0).unwrap(), 4);
        let failed = read_full(&Told::new([Ok(4), fails(io::ErrorKind::Other)]), &mut [0; 10], 0);
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::Other);
    }

    #[test]
    fn a_write_that_fails_says_how_far_it_came() {
        for (last, kind) in
            [(Ok(0), io::ErrorKind::StorageFull), (fails(io::ErrorKind::QuotaExceeded), io::ErrorKind::QuotaExceeded)]
        {
            let (written, error) = write_full(&Told::new([Ok(4), last]), &[0; 10], 0).unwrap_err();
            assert_eq!((written, error.kind()), (4, kind));
        }
    }

    #[test]
    fn only_a_lack_of_space_is_full() {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge];
        assert!(full.into_iter().all(|kind| is_full(&kind.into())));
        assert!(!is_full(&io::ErrorKind::PermissionDenied.into()));
    }

    /// A folder of its own for a test.
    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("roomlog-disk-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_folder_is_created_with_those_above_it_and_once() {
        let base = folder("folders");
        let inner = base.join("a/b");
        assert!(RealDisk.create_dir(&inner).unwrap());
        assert!(!RealDisk.create_dir(&inner).unwrap());
        assert!(RealDisk.create_dir(&base.join("c")).unwrap());
        let mut names = RealDisk.list(&base).unwrap();
        names.sort();
        assert_eq!(names, ["a", "c"]);
        std::fs::write(base.join("file"), b"12345").unwrap();
        assert_eq!(RealDisk.create_dir(&base.join("file/d")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        RealDisk.make_private(&inner).unwrap();
        assert_eq!(std::fs::metadata(&inner).unwrap().permissions().mode() & 0o777, 0o700);
        RealDisk.sync_dir(&inner).unwrap();
        RealDisk.remove_dir(&inner).unwrap();
        assert!(RealDisk.sync_dir(&inner).is_err());
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_file_is_read_written_cut_renamed_and_removed() {
        let base = folder("files");
        let (one, two) = (base.join("one"), base.join("two"));
        let file = RealDisk.create(&one).unwrap();
        assert_eq!(RealDisk.create(&one).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(DiskFile::is_empty(&file).unwrap());
        write_full(&file, b"0123456789", 2).unwrap();
        assert_eq!((DiskFile::len(&file).unwrap(), RealDisk.len(&one).unwrap()), (12, 12));
        assert!(!DiskFile::is_empty(&file).unwrap());
        DiskFile::set_len(&file, 7).unwrap();
        RealDisk.rename(&one, &two).unwrap();
        assert!(RealDisk.open(&one).is_err());
        let mut bytes = [b'x'; 9];
        assert_eq!(read_full(&RealDisk.open(&two).unwrap(), &mut bytes, 0).unwrap(), 7);
        assert_eq!(&bytes, b"\0\x0001234xx");
        RealDisk.remove(&two).unwrap();
        assert_eq!(RealDisk.list(&base).unwrap(), [""; 0]);
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn a_file_keeps_its_identity_and_a_copy_has_another() {
        let base = folder("identity");
        let (one, two) = (base.join("one"), base.join("two"));
        let file = RealDisk.create(&one).unwrap();
        let identity = file.identity().unwrap();
        assert!(identity.starts_with(&format!("{}:", file.metadata().unwrap().ino())), "{identity}");
        std::fs::copy(&one, &two).unwrap();
        assert_ne!(RealDisk.open(&two).unwrap().identity().unwrap(), identity);
        assert_eq!(RealDisk.open(&one).unwrap().identity().unwrap(), identity);
        assert_eq!(file.device().unwrap(), std::fs::metadata(&base).unwrap().dev());
        assert!(DiskFile::try_lock(&file).unwrap());
        assert!(!DiskFile::try_lock(&RealDisk.open(&one).unwrap()).unwrap(), "one handle has it");
        std::fs::remove_dir_all(&base).unwrap();
    }

    #[test]
    fn the_start_of_the_machine_has_one_number() {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let expected =
            u64::from_str_radix(&text.replace('-', "").chars().take(16).collect::<String>(), 16).unwrap_or(0);
        assert_eq!(RealDisk.boot_id(), expected);
    }
}
