//! How many sockets the process may have.
//!
//! Owns: the limit. Must never know: what they are for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of descriptors as far as it goes, and tells it.
pub fn raise_descriptors() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let descriptors = if raised.is_ok() { maximum } else { current };
    descriptors.map_or(usize::MAX, |all| usize::try_from(all).unwrap_or(usize::MAX))
}
