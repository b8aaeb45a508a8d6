//! Two processes over shared memory, one of them hostile or killed. Needs no privileges.

mod child;
mod garbage;
mod killed_writer;
mod live_worker;
