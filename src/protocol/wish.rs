//! What a client asks for in the URL it connects to.
//!
//! Owns: the names and forms of query parameters. Must never know: whether a wish is granted.

/// The query parameters of a chat connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The wanted name.
    pub user: Option<String>,
    /// Rooms to join at once.
    pub rooms: Vec<String>,
    /// The last sequence the client has; counts only with exactly one room.
    pub since: Option<u64>,
    /// A session to resume.
    pub session: Option<String>,
}

impl Wish {
    /// Reads a query string. Unknown parameters are ignored.
    ///
    /// # Errors
    /// A sentence for the person who wrote the URL.
    pub fn parse(query: &str) -> Result<Self, &'static str> {
        let mut wish = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "user" | "username" if !value.is_empty() => wish.user = Some(value.into_owned()),
                "room" => wish.rooms.push(value.into_owned()),
                "since" => wish.since = Some(value.parse().map_err(|_| "since is a number")?),
                "session" if !value.is_empty() => wish.session = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_read_from_the_query() {
        let query = "user=Ann%20Lee&room=a&room=%C3%BCber&since=7&session=s&client_id=x&other";
        let rooms = vec!["a".into(), "über".into()];
        let wanted = Wish { user: Some("Ann Lee".into()), rooms, since: Some(7), session: Some("s".into()) };
        assert_eq!(Wish::parse(query), Ok(wanted));
        assert_eq!(Wish::parse("username=bob&user=").unwrap().user.as_deref(), Some("bob"));
        assert!(Wish::parse("since=-1").is_err());
    }

    #[test]
    fn an_empty_name_or_session_is_no_wish() {
        assert_eq!(Wish::parse("user=&username=&session="), Ok(Wish::default()));
        assert_eq!(Wish::parse("session=s&session=").unwrap().session.as_deref(), Some("s"));
    }
}
