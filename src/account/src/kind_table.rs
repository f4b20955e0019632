//! The macro that makes [`Kind`](crate::Kind) and [`State`](crate::State) from the table of kinds.

/// Declares the kinds of objects. A line names a kind, its definition, and the type of the state
/// that only objects of this kind have.
macro_rules! kinds {
    ($($kind:ident => $definition:path $(, $state:ty)?;)*) => {
        /// The kinds of objects.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($kind),*
        }

        /// All kinds.
        pub const KINDS: &[Kind] = &[$(Kind::$kind),*];

        impl Kind {
            /// Returns the definition of the kind: its data, and what statements do with it.
            pub fn definition(self) -> &'static dyn kind::ObjectKind {
                match self {
                    $(Self::$kind => &$definition),*
                }
            }
        }

        /// The state of an object besides its properties.
        #[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case", tag = "type")]
        pub enum State {
            /// Of the kinds that have properties only.
            None,
            /// Of the kinds that assume a role.
            Principal(kind::storage_integration::Principal),
            $($($kind($state),)?)*
        }

        impl State {
            /// Returns the kind of the objects that have such a state; `None` if several have it.
            pub fn kind(&self) -> Option<Kind> {
                match self {
                    Self::None | Self::Principal(_) => None,
                    $($(Self::$kind(_) => Some(<$state as object::KindState>::KIND),)?)*
                }
            }
        }

        $($(
            impl object::KindState for $state {
                const KIND: Kind = Kind::$kind;

                fn of(state: &State) -> Option<&Self> {
                    match state {
                        State::$kind(state) => Some(state),
                        _ => None,
                    }
                }

                fn of_mut(state: &mut State) -> Option<&mut Self> {
                    match state {
                        State::$kind(state) => Some(state),
                        _ => None,
                    }
                }
            }

            impl From<$state> for State {
                fn from(state: $state) -> Self {
                    Self::$kind(state)
                }
            }
        )?)*
    };
}
