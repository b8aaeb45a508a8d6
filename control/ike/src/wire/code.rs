//! Numbers of IANA's registries as enums that keep what they do not know.

/// Defines an enum over a registry: each name with its number and the registry's text, and `Unknown` for the rest.
macro_rules! codes {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident: $number:ty {
            $($(#[$doc:meta])* $variant:ident = $value:literal, $text:literal;)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* #[doc = concat!("`", $text, "`, ", stringify!($value), ".")] $variant,)+
            /// A number that has no name here.
            Unknown($number),
        }

        impl $name {
            /// Every value that has a name here.
            pub const KNOWN: &[Self] = &[$(Self::$variant),+];

            /// The number on the wire.
            pub const fn number(self) -> $number {
                match self {
                    $(Self::$variant => $value,)+
                    Self::Unknown(number) => number,
                }
            }

            /// The value with this number.
            pub const fn from_number(number: $number) -> Self {
                match number {
                    $($value => Self::$variant,)+
                    number => Self::Unknown(number),
                }
            }
        }

        /// The registry's name, or the bare number.
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $(Self::$variant => f.pad($text),)+
                    Self::Unknown(number) => write!(f, "{number}"),
                }
            }
        }
    };
}

pub(crate) use codes;
