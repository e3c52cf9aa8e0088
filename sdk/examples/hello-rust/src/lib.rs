//! Greets whoever names himself in a header, and refuses who does not. Shows a policy in Rust over the
//! C ABI, without crates: the one exported symbol, the manifest section, a field table, hooks. Without
//! the standard library, too: its thread-local destructors would keep the image in memory for ever.
#![no_std]

mod weir;

use core::ffi::{c_char, c_int, c_void};
use core::mem::{offset_of, size_of};
use core::sync::atomic::{AtomicPtr, Ordering};
use weir::{Calls, Field, Host, Plugin, Request, Str};

/// In place of the C macro's first half: read from the file before any code of it runs.
const MANIFEST_TEXT: &str = "weir-plugin/1\nname=hello-rust\nversion=1.0.0\nabi=1.0\n\0";
#[used]
#[link_section = ".weir.manifest"]
static MANIFEST: [u8; MANIFEST_TEXT.len()] = {
    let mut bytes = [0; MANIFEST_TEXT.len()];
    let mut i = 0;
    while i < bytes.len() {
        bytes[i] = MANIFEST_TEXT.as_bytes()[i];
        i += 1;
    }
    bytes
};

/// One per policy and generation; the host makes it, zeroes it, fills the first members, frees it.
#[repr(C)]
struct Policy {
    header: Str,
    greeting: Str,
    who: u32,
    hello: u32,
}

/// Zeroed, one per request and policy.
#[repr(C)]
struct PerRequest {
    greeted: bool,
}

const GREETING_MOST: usize = 128;

static TABLE: AtomicPtr<Host> = AtomicPtr::new(core::ptr::null_mut());

fn calls() -> Calls {
    // SAFETY: set once by weir_plugin_v1(), before any hook runs; the table outlives the image.
    Calls(unsafe { &*TABLE.load(Ordering::Relaxed) })
}

unsafe extern "C" fn configure(this: *mut c_void, _error: *mut c_void) -> c_int {
    // SAFETY: self_size bytes, aligned for everything, and nobody else's during this call.
    let policy = unsafe { &mut *this.cast::<Policy>() };
    policy.who = calls().header_intern(policy.header);
    policy.hello = calls().header_intern(Str::of("X-Greeting"));
    c_int::from(policy.who == 0 || policy.hello == 0) // 0: no memory
}

unsafe extern "C" fn on_access(request: *mut c_void, this: *mut c_void, ctx: *mut c_void) -> u32 {
    // SAFETY: the host's request, self and context, for as long as this hook runs.
    let (mut request, policy, mine) = unsafe {
        (Request::new(calls(), request), &*this.cast::<Policy>(), &mut *ctx.cast::<PerRequest>())
    };
    match request.header(weir::SIDE_REQUEST, policy.who).bytes() {
        None | Some([]) => request.respond_error(400, Str::of("Who are you?")),
        Some(_) => {
            mine.greeted = true;
            weir::NEXT
        }
    }
}

/// `greeting` and `name` one behind the other; None: it does not fit.
fn join<'a>(buffer: &'a mut [u8], greeting: &[u8], name: &[u8]) -> Option<&'a [u8]> {
    let size = greeting.len() + 1 + name.len();
    let out = buffer.get_mut(..size)?;
    out[..greeting.len()].copy_from_slice(greeting);
    out[greeting.len()] = b' ';
    out[greeting.len() + 1..].copy_from_slice(name);
    Some(out)
}

unsafe extern "C" fn on_response(request: *mut c_void, this: *mut c_void, ctx: *mut c_void) -> u32 {
    // SAFETY: as in on_access().
    let (mut request, policy, mine) = unsafe {
        (Request::new(calls(), request), &*this.cast::<Policy>(), &*ctx.cast::<PerRequest>())
    };
    if !mine.greeted {
        return weir::NEXT;
    }
    let mut buffer = [0; GREETING_MOST];
    let name = request.header(weir::SIDE_REQUEST, policy.who);
    let (Some(greeting), Some(name)) = (policy.greeting.bytes(), name.bytes()) else {
        return weir::NEXT;
    };
    match join(&mut buffer, greeting, name) {
        None => weir::NEXT,
        Some(text) => {
            match request.set_header(weir::SIDE_RESPONSE, policy.hello, Str::from_bytes(text)) {
                true => weir::NEXT,
                false => weir::FAIL,
            }
        }
    }
}

const NO_FIELD: Field = Field {
    name: core::ptr::null(),
    kind: weir::TYPE_STRING,
    offset: 0,
    fields: core::ptr::null(),
    field_count: 0,
    size: 0,
    element: 0,
    flags: 0,
    key: core::ptr::null(),
    def: core::ptr::null(),
    min: 0.0,
    max: 0.0,
    choices: core::ptr::null(),
    alias: core::ptr::null(),
    also: core::ptr::null(),
    help: core::ptr::null(),
};

const fn c(text: &'static str) -> *const c_char {
    assert!(text.as_bytes()[text.len() - 1] == 0);
    text.as_ptr().cast()
}

/// Pointers are not Sync by themselves; nobody writes to these.
struct Constant<T>(T);
// SAFETY: never written, and all that they point to is static.
unsafe impl<T> Sync for Constant<T> {}

static FIELDS: Constant<[Field; 2]> = Constant([
    Field {
        name: c("header\0"),
        offset: offset_of!(Policy, header) as u32,
        flags: weir::HEADER_NAME,
        def: c("X-Name\0"),
        help: c("header in which a client names itself\0"),
        ..NO_FIELD
    },
    Field {
        name: c("greeting\0"),
        offset: offset_of!(Policy, greeting) as u32,
        def: c("Hello\0"),
        help: c("what stands before the name in X-Greeting\0"),
        ..NO_FIELD
    },
]);

static DESCRIPTOR: Constant<Plugin> = Constant(Plugin {
    size: size_of::<Plugin>() as u32,
    major: 1,
    minor: 0,
    name: c("hello-rust\0"),
    version: c("1.0.0\0"),
    capabilities: 0,
    priority: 500,
    flags: 0,
    self_size: size_of::<Policy>() as u32,
    context_size: size_of::<PerRequest>() as u32,
    fields: core::ptr::addr_of!(FIELDS.0).cast(),
    field_count: FIELDS.0.len() as u32,
    field_stride: size_of::<Field>() as u32,
    credentials: weir::UNUSED,
    credential_count: 0,
    credential_stride: 0,
    request_body_need: 0,
    response_body_need: 0,
    configure: Some(configure),
    start: weir::UNUSED,
    stop: weir::UNUSED,
    rewrite: None,
    access: Some(on_access),
    request_body: weir::UNUSED,
    upstream: None,
    response_headers: Some(on_response),
    response_body: weir::UNUSED,
    log: weir::UNUSED,
    export_state: weir::UNUSED,
    import_state: weir::UNUSED,
});

/// The one exported symbol.
#[no_mangle]
pub extern "C" fn weir_plugin_v1(host: *mut Host) -> *const Plugin {
    TABLE.store(host, Ordering::Relaxed);
    core::ptr::addr_of!(DESCRIPTOR.0)
}

#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // It names libc among what the plugin needs: memcpy() comes from there, too.
    #[link(name = "c")]
    extern "C" {
        fn abort() -> !;
    }
    // SAFETY: it takes nothing and does not come back.
    unsafe { abort() }
}
