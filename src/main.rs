//! The command line: `deltamax help`.

fn main() -> std::process::ExitCode {
    // SAFETY: no other thread exists yet.
    unsafe { deltamax::device::quiet_driver() };
    deltamax::cli::main()
}
