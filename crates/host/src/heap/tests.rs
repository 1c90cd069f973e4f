//! Both images behave alike, and a heap forgets what was not committed.

use super::*;

fn committed_image_survives<I: Committed>(reads: bool) {
    let mut image = I::new().unwrap();
    let space = image.space(ADDRESSABLE + (1 << 25)).unwrap();
    space.open(4 * UNIT).unwrap();
    let write = |at: usize, byte: u8| space.bytes_mut()[at] = byte;
    write(5, 1);
    write(3 * UNIT + 1, 2);
    write(PAGE, 0);
    let changed = image.changed(&space).unwrap();
    assert_eq!(changed, [0, 48]);
    image.commit(&space, &changed, reads).unwrap();
    assert_eq!(image.changed(&space).unwrap(), [0u32; 0]);

    write(5, 9);
    write(2 * UNIT, 7);
    write(3 * UNIT + 1, 3);
    write(3 * UNIT + 1, 2);
    assert_eq!(image.changed(&space).unwrap(), [0, 32]);
    image.rollback(&space, reads).unwrap();
    assert_eq!(image.changed(&space).unwrap(), [0u32; 0]);
    let live = space.bytes();
    assert_eq!((live[5], live[2 * UNIT], live[3 * UNIT + 1]), (1, 0, 2));

    space.open(5 * UNIT).unwrap();
    write(4 * UNIT, 8);
    assert_eq!(image.changed(&space).unwrap(), [64]);
}

#[test]
fn copies_compare_content() {
    committed_image_survives::<portable::Copy>(true);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_files_compare_content() {
    committed_image_survives::<linux::MemoryFile>(true);
    committed_image_survives::<linux::MemoryFile>(false);
}

#[cfg(target_os = "linux")]
#[test]
fn reads_are_seen_in_units() {
    let mut image = linux::MemoryFile::new().unwrap();
    let space = image.space(ADDRESSABLE).unwrap();
    space.open(64 * UNIT).unwrap();
    space.bytes_mut().fill(1);
    let changed = image.changed(&space).unwrap();
    assert_eq!(changed.len(), 64 * 16);
    image.commit(&space, &changed, true).unwrap();
    assert_eq!(image.touched(&space).unwrap(), Touched::default());
    assert_eq!(space.bytes()[UNIT * 7 + 12_345], 1);
    let read = image.touched(&space).unwrap();
    assert_eq!((read.accessed, read.written), (1, 0));
    space.bytes_mut()[UNIT * 9] = 2;
    let written = image.touched(&space).unwrap();
    assert_eq!((written.accessed, written.written), (2, 1));
}
