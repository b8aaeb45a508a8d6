//! What the operator's command and the privileged tests share.

pub mod lab;
