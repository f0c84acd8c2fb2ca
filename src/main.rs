//! The command line: `deltamax help`.

fn main() -> std::process::ExitCode {
    deltamax::cli::main()
}
