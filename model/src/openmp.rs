//! How the threads of one tensor operation wait for one another: libtorch computes on GNU's OpenMP (libgomp).

/// What libgomp is told how long to spin, and what else says it; read when the library is loaded, before `main`.
const SPINS_VARIABLE: &str = "GOMP_SPINCOUNT";
const POLICY_VARIABLE: &str = "OMP_WAIT_POLICY";

/// Turns of the waiting loop, some microseconds: what libgomp itself allows where a process has more threads than there
/// are cores. Other processes it does not know of.
const SPINS: &str = "1000";

/// Lets a thread that waits for the others of its operation leave its core after microseconds instead of milliseconds.
///
/// By default it spins 300,000 turns. Alone on its cores a program gains little by that; beside others the thread that is
/// waited for is often not running, and whole time slices are spun away at the end of every operation. So the process
/// replaces itself, once, by the same program with `GOMP_SPINCOUNT` set; its number stays. To be called before anything is
/// begun. Where a user has set that variable or `OMP_WAIT_POLICY`, or the program cannot be started again, everything stays
/// as it is.
pub fn spin_briefly() {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt as _;

        let is_told = [SPINS_VARIABLE, POLICY_VARIABLE].iter().any(|name| std::env::var_os(name).is_some());
        let Some(program) = std::env::current_exe().ok().filter(|_| !is_told) else { return };
        let mut words = std::env::args_os();
        let mut command = std::process::Command::new(program);
        if let Some(name) = words.next() {
            command.arg0(name);
        }
        // It returns only where it fails.
        let _ = command.args(words).env(SPINS_VARIABLE, SPINS).exec();
    }
}
