//! Which connection is which client, both ways.
//!
//! Owns: two small tables. Must never know: why they change.

use crate::{chat::ClientKey, feed::SubscriberId, net::ConnId};

/// Invariant: if a connection has a client, that client has this connection.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// By the connection's slot.
    clients: Vec<Option<(ConnId, ClientKey)>>,
    /// By the client's index.
    connections: Vec<Option<(ClientKey, ConnId)>>,
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
        if let Some(old) = self.connection(client) {
            self.clients[slot(old)] = None;
        }
        let wanted = slot(conn).max(self.clients.len().saturating_sub(1));
        self.clients.resize(wanted + 1, None);
        self.connections.resize(self.connections.len().max(client.index() + 1), None);
        self.clients[slot(conn)] = Some((conn, client));
        self.connections[client.index()] = Some((client, conn));
    }

    /// Parts a connection from its client.
    pub fn remove(&mut self, conn: ConnId) -> Option<ClientKey> {
        let client = self.client(conn)?;
        self.clients[slot(conn)] = None;
        self.connections[client.index()] = None;
        Some(client)
    }

    /// The client of a connection.
    pub fn client(&self, conn: ConnId) -> Option<ClientKey> {
        let (known, client) = (*self.clients.get(slot(conn))?)?;
        (known == conn).then_some(client)
    }

    /// The connection of a client.
    pub fn connection(&self, client: ClientKey) -> Option<ConnId> {
        let (known, conn) = (*self.connections.get(client.index())?)?;
        (known == client).then_some(conn)
    }
}
