//! The codec against octets composed by hand, against itself, and against hostile lengths.

mod sealing;
mod vectors;
