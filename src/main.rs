//! The command line: `deltamax help`.

fn main() -> std::process::ExitCode {
    quiet_driver();
    deltamax::cli::main()
}

/// Keeps Mesa's device-select layer out of the process. It looks for a display server whenever adapters are listed and
/// complains on standard error where there is none; its only use is `MESA_VK_DEVICE_SELECT`, and then it stays.
fn quiet_driver() {
    if std::env::var_os("MESA_VK_DEVICE_SELECT").is_none() {
        // SAFETY: no other thread exists yet.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}
