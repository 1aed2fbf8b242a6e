//! Which connection is which client, both ways.
//!
//! Owns: two small tables. Must never know: why they change.

use crate::{chat::ClientKey, feed::SubscriberId, net::ConnId};

/// Invariant: if a client has a connection, that connection has this client.
///
/// Only the client's side is kept exact; the other is checked against it, so that both are eight bytes an entry.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By the connection's slot. May name a client that has another connection by now.
    clients: Vec<Option<ClientKey>>,
    /// By the client's index. A generation of zero is no connection.
    connections: Vec<u64>,
}

/// A connection as the feed sees it.
pub(super) fn subscriber(conn: ConnId) -> SubscriberId {
    let bits = conn.to_bits();
    SubscriberId { slot: bits as u32, generation: (bits >> 32) as u32 }
}

/// The connection behind a subscriber.
pub(super) fn connection(id: SubscriberId) -> ConnId {
    ConnId::from_bits(u64::from(id.generation) << 32 | u64::from(id.slot))
}

fn slot(conn: ConnId) -> usize {
    subscriber(conn).slot as usize
}

impl Links {
    /// Joins the two; whatever either was joined with is on its own.
    pub fn join(&mut self, conn: ConnId, client: ClientKey) {
        self.remove(conn);
        self.clients.resize(self.clients.len().max(slot(conn) + 1), None);
        self.connections.resize(self.connections.len().max(client.index() + 1), 0);
        self.clients[slot(conn)] = Some(client);
        self.connections[client.index()] = conn.to_bits();
    }

    /// Parts a connection from its client.
    pub fn remove(&mut self, conn: ConnId) -> Option<ClientKey> {
        let client = self.client(conn)?;
        self.clients[slot(conn)] = None;
        self.connections[client.index()] = 0;
        Some(client)
    }

    /// The client of a connection.
    pub fn client(&self, conn: ConnId) -> Option<ClientKey> {
        let client = (*self.clients.get(slot(conn))?)?;
        (self.connections[client.index()] == conn.to_bits()).then_some(client)
    }

    /// All connections that have a client.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> {
        self.connections.iter().filter(|&&bits| bits != 0).map(|&bits| ConnId::from_bits(bits))
    }

    /// The connection of a client.
    pub fn connection(&self, client: ClientKey) -> Option<ConnId> {
        let bits = *self.connections.get(client.index())?;
        let conn = ConnId::from_bits(bits);
        (bits != 0 && self.clients[slot(conn)] == Some(client)).then_some(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32, generation: u32) -> ConnId {
        connection(SubscriberId { slot, generation })
    }

    #[test]
    fn a_client_moves_between_connections_and_a_connection_between_clients() {
        let (a, b) = (ClientKey::testing(0, 1), ClientKey::testing(3, 2));
        let mut links = Links::default();
        links.join(conn(5, 1), a);
        assert_eq!((links.client(conn(5, 1)), links.connection(a)), (Some(a), Some(conn(5, 1))));
        assert_eq!((links.client(conn(5, 2)), links.client(conn(9, 1)), links.connection(b)), (None, None, None));
        links.join(conn(2, 7), a);
        assert_eq!((links.client(conn(5, 1)), links.connection(a)), (None, Some(conn(2, 7))));
        assert_eq!(links.remove(conn(5, 1)), None, "the old connection closes later");
        links.join(conn(2, 7), b);
        assert_eq!((links.client(conn(2, 7)), links.connection(a)), (Some(b), None));
        assert_eq!((links.remove(conn(2, 7)), links.connection(b)), (Some(b), None));
    }

    #[test]
    fn a_place_that_is_used_again_is_somebody_else() {
        let (old, new) = (ClientKey::testing(0, 1), ClientKey::testing(0, 2));
        let mut links = Links::default();
        links.join(conn(1, 1), old);
        links.join(conn(1, 2), new);
        assert_eq!((links.connection(old), links.client(conn(1, 1))), (None, None));
        assert_eq!(links.connection(new), Some(conn(1, 2)));
    }

    #[test]
    fn an_entry_is_eight_bytes() {
        assert_eq!(size_of::<Option<ClientKey>>(), 8);
    }
}
