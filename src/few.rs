//! A list for what there is nearly always one of, and of which there are many lists.
//!
//! Owns: the layout. Must never know: what is listed.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use smallvec::SmallVec;

/// None, one, or a vector: 16 bytes for items of up to 8 (and an alignment of 4), without an allocation for one item.
///
/// A slice in all but name; the order is kept except by [`Few::swap_remove`].
#[derive(Clone, Default)]
pub enum Few<T> {
    /// Empty.
    #[default]
    None,
    /// One item.
    One(T),
    /// Two or more. Boxed to be one word: a connection pays for the list it does not have.
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    /// Adds an item at the end.
    pub fn push(&mut self, item: T) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(item),
            Self::One(first) => Self::Many(Box::new(vec![first, item])),
            Self::Many(mut items) => {
                items.push(item);
                Self::Many(items)
            }
        };
    }

    /// Removes an item and puts the last one in its place.
    ///
    /// # Panics
    /// If there is none at `index`.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let (removed, rest) = match std::mem::take(self) {
            Self::One(item) if index == 0 => (item, Self::None),
            Self::Many(mut items) => {
                let removed = items.swap_remove(index);
                (removed, if items.len() == 1 { Self::One(items.remove(0)) } else { Self::Many(items) })
            }
            _ => panic!("no item at {index}"),
        };
        *self = rest;
        removed
    }
}

/// Adds an item at the end of a list that stays: it grows by a quarter where a vector doubles, so that of many lists in
/// memory a ninth is empty on average, and not a third.
pub fn push_tightly<T>(list: &mut SmallVec<[T; 1]>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(2));
    }
    list.push(item);
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::None => &[],
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::None => &mut [],
            Self::One(item) => std::slice::from_mut(item),
            Self::Many(items) => items,
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Few<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_list_however_many_there_are() {
        let mut few = Few::default();
        for count in 1..=4 {
            few.push(count);
            assert_eq!(*few, (1..=count).collect::<Vec<_>>());
        }
        few[0] = 9;
        assert_eq!((few.swap_remove(1), &*few), (2, &[9, 4, 3][..]));
        assert_eq!((few.swap_remove(2), &*few), (3, &[9, 4][..]));
        assert_eq!((few.swap_remove(0), &*few), (9, &[4][..]));
        assert!(matches!(few, Few::One(4)), "the vector is given back");
        assert_eq!((few.swap_remove(0), &*few), (4, &[][..]));
    }

    #[test]
    fn a_tight_list_has_little_room_to_spare() {
        let mut list = SmallVec::new();
        for count in 1..=1_000 {
            push_tightly(&mut list, count);
            assert!(list.capacity() <= (count + 2).max(count * 5 / 4), "{} for {count}", list.capacity());
        }
        assert_eq!(*list, (1..=1_000).collect::<Vec<_>>());
    }

    #[test]
    #[should_panic(expected = "no item at 1")]
    fn removing_what_is_not_there_is_a_bug() {
        Few::One(5).swap_remove(1);
    }

    #[test]
    fn one_item_costs_no_more_than_a_pointer_and_a_tag() {
        assert_eq!(size_of::<Few<(u32, u32)>>(), 16);
    }
}
