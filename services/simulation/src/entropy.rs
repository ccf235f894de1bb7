//! Randomness from the seed, for all code of the process that asks the operating system for some: the keys of hash maps, the order
//! in which `select!` looks at its branches, the jitter of retries, random ids.
//!
//! The C library's `getrandom` is replaced in this binary, as the deterministic simulator madsim does it. The threads of the
//! simulation, of which one runs at a time, share one sequence. A thread of a storage runs beside them, at moments that nobody
//! decides, so each has a sequence of its own by its name; what it takes from there decides nothing but the places in its hash maps.

use std::cell::RefCell;
use std::ffi::{c_uint, c_void};

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

/// Names of the threads that run one at a time: the simulation's own, and what it waits for in place.
const IN_TURN: [&str; 2] = [crate::THREAD, "in-place"];

/// The seed, and the sequence of the threads that take turns; none before a simulation begins.
static SEQUENCE: Mutex<Option<(u64, SmallRng)>> = Mutex::new(None);

/// Most bytes given at once, as the system call may give fewer than were asked for; who wants more asks again.
const AT_ONCE: usize = 256;

thread_local! {
    static OWN: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// From now on this process draws from `seed`. Called by the thread that simulates.
pub(crate) fn begin(seed: u64) {
    // The jitter of retries: backon draws it from here, which would begin with the time and asks nobody for randomness.
    fastrand::seed(seed);
    *SEQUENCE.lock() = Some((seed, SmallRng::seed_from_u64(seed)));
}

/// Fills `bytes` from the seed; false before there is one.
fn fill(bytes: &mut [u8]) -> bool {
    let mut sequence = SEQUENCE.lock();
    let Some((seed, shared)) = sequence.as_mut() else { return false };
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    if IN_TURN.contains(&name) {
        shared.fill_bytes(bytes);
        return true;
    }
    let named = name.bytes().fold(*seed, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    OWN.with_borrow_mut(|own| own.get_or_insert_with(|| SmallRng::seed_from_u64(named)).fill_bytes(bytes));
    true
}

/// In the place of the C library's; see getrandom(2).
///
/// # Safety
/// `buffer` must be valid for writes of `length` bytes, as the system call demands.
#[allow(unsafe_code)] // A symbol of the C library has its signature, and a raw buffer.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let mut drawn = [0; AT_ONCE];
    let wanted = length.min(AT_ONCE);
    // Nothing to fill: whoever asks wants to know whether the call is there at all.
    if wanted == 0 || buffer.is_null() || !fill(&mut drawn[..wanted]) {
        // SAFETY: the arguments are the caller's own, who vouches for them.
        return unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) as isize };
    }
    // SAFETY: the caller vouches for `length` bytes at `buffer`, of which `wanted` are no more; `drawn` is a local of its own.
    unsafe { std::ptr::copy_nonoverlapping(drawn.as_ptr(), buffer.cast::<u8>(), wanted) };
    wanted as isize
}
