//! How much anybody may send: per client, per account, per address.
//!
//! Owns: the rates and their buckets. Must never know: what is sent.
//!
//! Messages are counted against all three. Everything else that a client can send, be it another command or a control
//! frame, is counted per client, at fifty times the rate: it costs the server less, but not nothing.

use std::{collections::HashMap, hash::Hash};

use super::{AddressKey, Chat, ClientKey, Effect, Settings, Step, rights::Outcome, rights::Refusal};
use crate::{
    accounts::AccountId,
    clock::Now,
    limits,
    protocol::{ErrorCode, close},
    rate::{Bucket, Rate},
};

/// Buckets of one kind that are kept; those that have been quiet for long go when there are more.
const KEPT_MAX: usize = 10_000;
/// Longer than a bucket with a burst of two seconds takes to fill again.
const QUIET_MS: u64 = 60_000;

/// Rates in force, and the buckets that do not belong to a client.
#[derive(Debug)]
pub(super) struct Allowances {
    messages: Rate,
    commands: Rate,
    accounts: Kept<AccountId>,
    addresses: Kept<AddressKey>,
}

/// Buckets by whose they are, and when each was last used. They outlive the connections of an account or address: to come
/// back gives nobody a full one.
#[derive(Debug)]
struct Kept<K> {
    rate: Rate,
    buckets: HashMap<K, (Bucket, u64)>,
}

fn with_burst(per_second: u32) -> Rate {
    Rate::new(per_second, per_second.saturating_mul(limits::RATE_BURST_FACTOR))
}

impl<K: Eq + Hash> Kept<K> {
    fn new(per_second: u32) -> Self {
        Self { rate: with_burst(per_second), buckets: HashMap::new() }
    }

    /// Takes `count`; what is more than may come at once takes all of that.
    fn take(&mut self, key: K, count: u32, now_ms: u64) -> Result<(), u64> {
        if self.rate.burst() == u32::MAX {
            return Ok(());
        }
        if self.buckets.len() >= KEPT_MAX && !self.buckets.contains_key(&key) {
            self.buckets.retain(|_, (_, used_ms)| *used_ms + QUIET_MS > now_ms);
        }
        let (bucket, used_ms) = self.buckets.entry(key).or_default();
        *used_ms = now_ms;
        bucket.take_many(self.rate, count.min(self.rate.burst()), now_ms)
    }
}

impl Allowances {
    pub fn new(settings: &Settings) -> Self {
        Self {
            messages: with_burst(settings.messages_per_second),
            commands: with_burst(settings.messages_per_second.saturating_mul(limits::RATE_COMMANDS_FACTOR)),
            accounts: Kept::new(settings.account_messages_per_second),
            addresses: Kept::new(settings.address_messages_per_second),
        }
    }
}

impl Chat {
    /// Counts a client's message; who goes on and on is shown out.
    pub(super) fn check_rate(&mut self, key: ClientKey, address: AddressKey, step: &mut Step<'_>) -> Outcome {
        let (now_ms, account) = (step.now.monotonic_ms, self.account_of(key));
        let client = self.clients.get_mut(key);
        // Its own first: what a client sends too much of costs nobody else at its address anything.
        let taken = client.bucket.take(self.allowances.messages, now_ms);
        let taken = taken.and_then(|()| self.check_author(account, address, now_ms));
        match taken {
            Ok(()) => {
                let client = self.clients.get_mut(key);
                client.refused = client.refused.saturating_sub(1);
                Ok(())
            }
            Err(retry_after_ms) => {
                self.count_refused(key, 1, step);
                Err(too_many("Too many messages; slow down", retry_after_ms))
            }
        }
    }

    /// Counts a message against its author's account and address.
    fn check_author(&mut self, account: Option<AccountId>, address: AddressKey, now_ms: u64) -> Result<(), u64> {
        account.map_or(Ok(()), |account| self.allowances.accounts.take(account, 1, now_ms))?;
        self.allowances.addresses.take(address, 1, now_ms)
    }

    /// Counts a message that came over HTTP.
    pub(super) fn check_post(&mut self, account: AccountId, address: AddressKey, step: &Step<'_>) -> Outcome {
        let taken = self.check_author(Some(account), address, step.now.monotonic_ms);
        taken.map_err(|retry_after_ms| too_many("Too many messages; slow down", retry_after_ms))
    }

    /// Counts an HTTP request that is no message against its address, for as many messages as it costs about as much as.
    ///
    /// # Errors
    /// Too many: the milliseconds after which one would be accepted.
    pub fn count_request(&mut self, address: AddressKey, cost: u32, now: Now) -> Result<(), u64> {
        self.allowances.addresses.take(address, cost, now.monotonic_ms)
    }

    /// Counts a command that is no message.
    pub(super) fn check_commands(&mut self, key: ClientKey, step: &mut Step<'_>) -> Outcome {
        let taken = self.clients.get_mut(key).commands.take(self.allowances.commands, step.now.monotonic_ms);
        taken.map_err(|retry_after_ms| {
            self.count_refused(key, 1, step);
            too_many("Too many commands; slow down", retry_after_ms)
        })
    }

    /// Counts control frames. They have no answer that could be refused; but who floods is shown out.
    pub(super) fn control(&mut self, key: ClientKey, count: u32, step: &mut Step<'_>) {
        let Some(client) = self.clients.try_get_mut(key) else { return };
        if client.commands.take_many(self.allowances.commands, count, step.now.monotonic_ms).is_err() {
            self.count_refused(key, count, step);
        }
    }

    fn count_refused(&mut self, key: ClientKey, count: u32, step: &mut Step<'_>) {
        let client = self.clients.get_mut(key);
        let before = u32::from(client.refused);
        let after = before.saturating_add(count).min(u32::from(u16::MAX));
        client.refused = after as u16;
        if before < limits::RATE_ABUSE_MAX
            && after >= limits::RATE_ABUSE_MAX
            && let Some(link) = client.link()
        {
            step.push(Effect::Refuse { link, code: close::POLICY, reason: "Too many messages".into() });
        }
    }
}

fn too_many(message: &'static str, retry_after_ms: u64) -> Refusal {
    Refusal { retry_after_ms: Some(retry_after_ms), ..Refusal::new(ErrorCode::RateLimited, message) }
}
