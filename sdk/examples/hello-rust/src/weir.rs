//! The part of <weir/weir.h>, version 1.0, that this policy uses, written by hand: types with the
//! layout of C, the table of functions up to the last one called, and safe wrappers. The layout is
//! frozen for every weir 1.x, so this file never has to follow.

use core::ffi::{c_char, c_int, c_void};
use core::mem::size_of;

pub const SUCCESS: u32 = 0;
pub const NEXT: u32 = 0;
pub const DONE: u32 = 1;
pub const FAIL: u32 = 3;
pub const SIDE_REQUEST: u32 = 0;
pub const SIDE_RESPONSE: u32 = 1;
pub const TYPE_STRING: u32 = 4;
pub const HEADER_NAME: u32 = 1 << 6;
pub const UNUSED: *const c_void = core::ptr::null();

/// Bytes of somebody else; `data` is null when absent.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    pub data: *const u8,
    pub size: usize,
}

impl Str {
    pub const fn of(text: &'static str) -> Str {
        Str { data: text.as_ptr(), size: text.len() }
    }
    pub const fn from_bytes(bytes: &[u8]) -> Str {
        Str { data: bytes.as_ptr(), size: bytes.len() }
    }
    /// None: absent. The host's strings live as long as the request or the policy they came with.
    pub fn bytes(&self) -> Option<&[u8]> {
        if self.data.is_null() {
            return None;
        }
        // SAFETY: the host says so of every weir_str that is not absent.
        Some(unsafe { core::slice::from_raw_parts(self.data, self.size) })
    }
}

/// A row of the configuration table: what the YAML says is put into a struct of ours.
#[repr(C)]
pub struct Field {
    pub name: *const c_char,
    pub kind: u32,
    pub offset: u32,
    pub fields: *const Field,
    pub field_count: u32,
    pub size: u32,
    pub element: u32,
    pub flags: u32,
    pub key: *const c_char,
    pub def: *const c_char,
    pub min: f64,
    pub max: f64,
    pub choices: *const *const c_char,
    pub alias: *const c_char,
    pub also: *const c_char,
    pub help: *const c_char,
}

pub type Configure = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
pub type Hook = unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_void) -> u32;

/// The descriptor. What is not used is null or zero; `Option<fn>` is a nullable pointer in C.
#[repr(C)]
pub struct Plugin {
    pub size: u32,
    pub major: u16,
    pub minor: u16,
    pub name: *const c_char,
    pub version: *const c_char,
    pub capabilities: u64,
    pub priority: i32,
    pub flags: u32,
    pub self_size: u32,
    pub context_size: u32,
    pub fields: *const Field,
    pub field_count: u32,
    pub field_stride: u32,
    pub credentials: *const c_void,
    pub credential_count: u32,
    pub credential_stride: u32,
    pub request_body_need: u32,
    pub response_body_need: u32,
    pub configure: Option<Configure>,
    pub start: *const c_void,
    pub stop: *const c_void,
    pub rewrite: Option<Hook>,
    pub access: Option<Hook>,
    pub request_body: *const c_void,
    pub upstream: Option<Hook>,
    pub response_headers: Option<Hook>,
    pub response_body: *const c_void,
    pub log: *const c_void,
    pub export_state: *const c_void,
    pub import_state: *const c_void,
}

/// The beginning of the host's table. Slots that are not called need no type, only their place.
#[repr(C)]
pub struct Host {
    pub size: u32,
    pub major: u16,
    pub minor: u16,
    error_at: *const c_void,
    log: *const c_void,
    request_alloc: *const c_void,
    policy_alloc: *const c_void,
    policy_text: *const c_void,
    ext: *const c_void,
    request_text: *const c_void,
    request_number: *const c_void,
    capture: *const c_void,
    query_get: *const c_void,
    query_set: *const c_void,
    query_remove: *const c_void,
    query_replace: *const c_void,
    header_intern: unsafe extern "C" fn(*const Host, Str) -> u32,
    header_get: unsafe extern "C" fn(*mut c_void, u32, u32, usize) -> Str,
    header_set: unsafe extern "C" fn(*mut c_void, u32, u32, Str) -> u32,
    header_add: *const c_void,
    header_remove: *const c_void,
    header_each: *const c_void,
    method_set: *const c_void,
    path_set: *const c_void,
    host_set: *const c_void,
    target_set: *const c_void,
    status_set: *const c_void,
    respond: *const c_void,
    respond_error: unsafe extern "C" fn(*mut c_void, u32, Str) -> u32,
}

// What sdk/abi/v1.lock says, so that a slip in this file does not compile.
const _: () = assert!(size_of::<Str>() == 16);
const _: () = assert!(size_of::<Field>() == 104);
const _: () = assert!(size_of::<Plugin>() == 184);

/// What a policy calls. All of it on the worker's loop thread, so nothing here is locked.
#[derive(Clone, Copy)]
pub struct Calls(pub &'static Host);

impl Calls {
    pub fn header_intern(self, name: Str) -> u32 {
        // SAFETY: the table is the host's and complete up to here, see weir_plugin_v1().
        unsafe { (self.0.header_intern)(self.0, name) }
    }
}

/// A request, for as long as one hook runs.
pub struct Request {
    raw: *mut c_void,
    host: &'static Host,
}

impl Request {
    /// # Safety
    /// `raw` is what the host gave to the hook that is running.
    pub unsafe fn new(calls: Calls, raw: *mut c_void) -> Request {
        Request { raw, host: calls.0 }
    }
    pub fn header(&self, side: u32, id: u32) -> Str {
        // SAFETY: as in new().
        unsafe { (self.host.header_get)(self.raw, side, id, 0) }
    }
    pub fn set_header(&mut self, side: u32, id: u32, value: Str) -> bool {
        // SAFETY: as in new(); the host copies the value.
        unsafe { (self.host.header_set)(self.raw, side, id, value) == SUCCESS }
    }
    /// The verdict of a hook that answers itself.
    pub fn respond_error(&mut self, status: u32, message: Str) -> u32 {
        // SAFETY: as in new(); the host copies the message.
        match unsafe { (self.host.respond_error)(self.raw, status, message) } {
            SUCCESS => DONE,
            _ => FAIL,
        }
    }
}
