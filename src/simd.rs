//! The CPU's vector width, chosen at run time.

/// Name of the instruction set the twins use on this machine.
pub fn describe() -> &'static str {
    "portable"
}
