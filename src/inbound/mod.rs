//! The way back: what platforms tell by themselves. A listener takes their deliveries, makes sure
//! that they are theirs, and hands them to the broker; it needs the database only to learn of what
//! has changed. What a delivery means, and what becomes of it, is the pipeline's business.

pub mod seal;
pub mod secrets;
