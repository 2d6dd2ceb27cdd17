//! A value that can be replaced while others use it.

use std::sync::{Arc, PoisonError, RwLock};

/// A value that can be replaced while others use it: clones see the new one when they ask next.
#[derive(Debug, Default)]
pub struct Shared<T>(Arc<RwLock<T>>);

impl<T: Clone> Shared<T> {
    /// With that value.
    pub fn new(value: T) -> Shared<T> {
        Shared(Arc::new(RwLock::new(value)))
    }

    /// As it is now.
    #[must_use]
    pub fn get(&self) -> T {
        // It is replaced as a whole, so whoever panicked meanwhile left it whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(Arc::clone(&self.0))
    }
}

impl<T: Clone + PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Shared<T>) -> bool {
        self.get() == other.get()
    }
}

impl<T: Clone + Eq> Eq for Shared<T> {}
