//! The codec against octets composed by hand, against itself, and against hostile lengths.

mod hostile;
mod round_trip;
mod sealing;
mod vectors;
