//! A shared value whose fields the compiler does not look into.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

/// A shared value behind a trait object.
///
/// Every future that holds a reference to a type must be shown to be `Send`, and for that the
/// compiler walks through all fields of the type, once for each such future. For a query engine or
/// a table's metadata that takes a second; through this type it takes nothing.
pub struct Opaque<T>(Arc<dyn Any + Send + Sync>, PhantomData<fn() -> T>);

impl<T: Send + Sync + 'static> Opaque<T> {
    pub fn new(value: T) -> Self {
        Self(Arc::new(value), PhantomData)
    }
}

impl<T> Clone for Opaque<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}

impl<T: fmt::Debug + 'static> fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: 'static> Deref for Opaque<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.downcast_ref().expect("made of this type")
    }
}
