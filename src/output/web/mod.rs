//! Web: what HTML pages are made of, whoever makes them: words, and the numbers of a chart.

pub mod numbers;
pub mod words;
