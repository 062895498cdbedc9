//! How much room there is: places, descriptors, memory.

use std::fmt;

use crate::net::View;

use super::page::Page;

pub(super) fn write(page: &mut Page<'_>, view: &View) -> fmt::Result {
    let facts = &view.facts;
    page.gauge("places", "Places for sessions, media sockets and handshakes that wait.", facts.places)?;
    page.gauge("places_taken", "Places that are taken.", facts.places_taken)?;
    let leaving = u64::from(view.is_leaving());
    page.gauge("leaving", "1 once the proxy itself is to end: it drains, or is stopped.", leaving)?;
    let files = &facts.files;
    let kinds = [
        ("handshake", files.handshakes),
        ("session", files.sessions),
        ("attempt", files.attempts),
        ("closing", files.closing),
        ("http", files.http),
    ];
    let kinds = kinds.map(|(kind, count)| (vec![("kind", kind)], count));
    page.gauges("descriptors", "File descriptors given out of the budget, by what for.", kinds)?;
    page.gauge("descriptors_limit", "File descriptors in the budget.", files.capacity)?;
    let memory = &view.memory;
    page.gauge("memory_bytes", "Memory taken of the budget.", memory.bytes)?;
    page.gauge("memory_limit_bytes", "The memory budget.", memory.bytes_max)?;
    page.gauge(
        "memory_buffered_bytes",
        "Memory in buffers of sessions, part of `holdfast_memory_bytes`.",
        memory.buffered_bytes,
    )?;
    let short = u64::from(memory.is_short);
    page.gauge("memory_short", "1 while new sessions are refused for want of memory.", short)?;
    let (kept, kept_max) = view.kept_bytes();
    page.gauge("kept_bytes", "Bytes that sessions keep to restore their clients.", kept)?;
    page.gauge("kept_limit_bytes", "Most bytes that sessions may keep to restore their clients.", kept_max)
}
