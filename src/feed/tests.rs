//! The feed over a real store.
