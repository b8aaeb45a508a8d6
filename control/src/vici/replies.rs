//! strongSwan messages.
