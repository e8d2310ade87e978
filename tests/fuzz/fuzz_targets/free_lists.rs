//! Any use of the lists of the allocator keeps blocks apart and loses none.
#![no_main]

#[path = "../../../filters/shell/src/free_lists.rs"]
mod free_lists;
#[path = "../../abi/tests/free_lists/heap.rs"]
mod heap;

use heap::{Heap, Operation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: Vec<(u8, u16, u8)>| {
    let mut heap = Heap::new();
    for (kind, number, more) in input {
        let (at, size) = (usize::from(more), usize::from(number % 3000));
        heap.run(match kind % 3 {
            0 => Operation::Allocate {
                size,
                align: 1 << (more % 8),
            },
            1 => Operation::Free { at },
            _ => Operation::Resize { at, size },
        });
    }
    heap.finish();
});
