//! What both adit processes agree on.
