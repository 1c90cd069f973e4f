//! Packed operands as bytes, so that what was packed once is read and not packed again.
//!
//! An image has two parts. The *head* is small: numbers in LEB128 and texts, in the order in which fields are written; what it
//! means is the reader's to know. *Arrays* lie one behind the other without gaps, as the machine has their numbers; the head
//! says how many there are. A reader trusts neither: what is cut off, too long or impossible for a kernel is [`Broken`], and
//! what it makes is as safe to run as what was written. Whether the *values* are those that were written is for who keeps the
//! bytes.

mod exact;
mod kernels;
mod maps;

use std::fmt;
use std::mem::MaybeUninit;

use crate::far::{Far, Numbers};

/// An image that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(
    /// What is wrong.
    pub &'static str,
);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the image is broken: {}", self.0)
    }
}

impl std::error::Error for Broken {}

/// What has an image.
pub trait Imaged: Sized {
    /// Writes it.
    fn write<'a>(&'a self, to: &mut Writer<'a>);

    /// Reads what [`Imaged::write`] wrote.
    ///
    /// # Errors
    /// Where that cannot be.
    fn read(from: &mut Reader<'_>) -> Result<Self, Broken>;
}

/// An array that is to be written.
#[derive(Clone, Copy, Debug)]
pub enum Array<'a> {
    /// Of these bytes.
    Here(&'a [u8]),
    /// Of so many bytes in a stream.
    Far(&'a Far, u64),
}

impl Array<'_> {
    /// How many bytes it has.
    pub fn bytes(&self) -> u64 {
        match self {
            Array::Here(bytes) => bytes.len() as u64,
            Array::Far(_, bytes) => *bytes,
        }
    }
}

/// An image that is being written. Arrays are not copied.
#[derive(Default)]
pub struct Writer<'a> {
    head: Vec<u8>,
    arrays: Vec<Array<'a>>,
}

impl<'a> Writer<'a> {
    /// A number.
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.head.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.head.push(number as u8);
    }

    /// A length or a count.
    pub fn size(&mut self, size: usize) {
        self.number(size as u64);
    }

    /// A choice.
    pub fn flag(&mut self, flag: bool) {
        self.number(u64::from(flag));
    }

    /// Bits of a float.
    pub fn float(&mut self, float: f32) {
        self.number(u64::from(float.to_bits()));
    }

    /// Sizes behind their count.
    pub fn sizes(&mut self, sizes: &[usize]) {
        self.size(sizes.len());
        sizes.iter().for_each(|size| self.size(*size));
    }

    /// A text behind its length, in the head.
    pub fn text(&mut self, text: &str) {
        self.size(text.len());
        self.head.extend_from_slice(text.as_bytes());
    }

    /// An array of bytes.
    pub fn bytes(&mut self, bytes: &'a [u8]) {
        self.size(bytes.len());
        self.arrays.push(Array::Here(bytes));
    }

    /// An array of floats.
    #[allow(unsafe_code, reason = "an array may be written as the bytes that it is")]
    pub fn floats(&mut self, floats: &'a [f32]) {
        self.size(floats.len());
        // SAFETY: floats are plain bytes, four each.
        let bytes = unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), 4 * floats.len()) };
        self.arrays.push(Array::Here(bytes));
    }

    /// An array of floats, wherever they are.
    pub(crate) fn numbers(&mut self, numbers: &'a Numbers<f32>) {
        match numbers {
            Numbers::Here(floats) => self.floats(floats),
            Numbers::Far(far, length) => self.far(far, *length, 4),
        }
    }

    /// An array of bytes, wherever they are.
    pub(crate) fn whole_numbers(&mut self, numbers: &'a Numbers<u8>) {
        match numbers {
            Numbers::Here(bytes) => self.bytes(bytes),
            Numbers::Far(far, length) => self.far(far, *length, 1),
        }
    }

    fn far(&mut self, far: &'a Far, length: usize, size: u64) {
        self.size(length);
        self.arrays.push(Array::Far(far, length as u64 * size));
    }

    /// Several of a kind behind their count.
    pub fn each<T: Imaged>(&mut self, all: &'a [T]) {
        self.size(all.len());
        all.iter().for_each(|one| one.write(self));
    }

    /// The head, and the arrays in order.
    pub fn finish(self) -> (Vec<u8>, Vec<Array<'a>>) {
        (self.head, self.arrays)
    }
}

/// Where arrays are read from.
pub trait Arrays {
    /// Bytes that are left.
    fn left(&self) -> u64;

    /// Fills `to` with the next bytes; only called for as many as are left. Every byte of `to` must be written.
    fn fill(&mut self, to: &mut [MaybeUninit<u8>]);

    /// Leaves the next bytes, which are packed numbers, where they are, and goes on behind them: where they are then. None where they
    /// are to be read.
    fn leave(&mut self, bytes: u64) -> Option<Far> {
        let _ = bytes;
        None
    }

    /// Bytes that reading will put in the heap, as far as that is known.
    fn heap(&self) -> u64 {
        self.left()
    }
}

/// Arrays that are in memory.
impl Arrays for &[u8] {
    fn left(&self) -> u64 {
        self.len() as u64
    }

    fn fill(&mut self, to: &mut [MaybeUninit<u8>]) {
        let (head, rest) = self.split_at(to.len());
        to.write_copy_of_slice(head);
        *self = rest;
    }
}

/// An image that is being read.
pub struct Reader<'a> {
    head: &'a [u8],
    arrays: &'a mut dyn Arrays,
}

impl<'a> Reader<'a> {
    /// Reads a head and arrays.
    pub fn new(head: &'a [u8], arrays: &'a mut dyn Arrays) -> Reader<'a> {
        Reader { head, arrays }
    }

    /// A number.
    ///
    /// # Errors
    /// Where the head ends, or it has more than 64 bits.
    pub fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.head.split_first().ok_or(Broken("its head ends early"))?;
            self.head = rest;
            let bits = u64::from(byte & 0x7f);
            number |= bits << shift;
            if byte < 0x80 {
                return if number >> shift == bits {
                    Ok(number)
                } else {
                    Err(Broken("a number is too large"))
                };
            }
        }
        Err(Broken("a number is too large"))
    }

    /// A length or a count.
    ///
    /// # Errors
    /// As [`Reader::number`], and where it is larger than what can be addressed.
    pub fn size(&mut self) -> Result<usize, Broken> {
        usize::try_from(self.number()?).map_err(|_| Broken("a length is too large"))
    }

    /// A count of what takes a byte of the head each, at least.
    ///
    /// # Errors
    /// As [`Reader::size`], and where the head has no room for so many.
    pub fn count(&mut self) -> Result<usize, Broken> {
        self.size()
            .and_then(|n| if n <= self.head.len() { Ok(n) } else { Err(Broken("a count is too large")) })
    }

    /// A choice.
    ///
    /// # Errors
    /// As [`Reader::number`], and where it is none.
    pub fn flag(&mut self) -> Result<bool, Broken> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Broken("a flag is neither 0 nor 1")),
        }
    }

    /// A float.
    ///
    /// # Errors
    /// As [`Reader::number`], and where it has more than 32 bits.
    pub fn float(&mut self) -> Result<f32, Broken> {
        u32::try_from(self.number()?).map(f32::from_bits).map_err(|_| Broken("a float has too many bits"))
    }

    /// Sizes.
    ///
    /// # Errors
    /// As [`Reader::count`] and [`Reader::size`].
    pub fn sizes(&mut self) -> Result<Vec<usize>, Broken> {
        (0..self.count()?).map(|_| self.size()).collect()
    }

    /// A text.
    ///
    /// # Errors
    /// As [`Reader::count`], and where it is no UTF-8.
    pub fn text(&mut self) -> Result<&'a str, Broken> {
        let length = self.count()?;
        let (text, rest) = self.head.split_at(length);
        self.head = rest;
        std::str::from_utf8(text).map_err(|_| Broken("a text is no UTF-8"))
    }

    /// An array of bytes.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn bytes(&mut self) -> Result<Vec<u8>, Broken> {
        let length = self.length(1)?;
        let mut bytes = Vec::with_capacity(length);
        self.arrays.fill(&mut bytes.spare_capacity_mut()[..length]);
        #[allow(unsafe_code, reason = "zeros would cost an instruction a byte")]
        // SAFETY: so many bytes were written.
        unsafe {
            bytes.set_len(length);
        }
        Ok(bytes)
    }

    /// Length of the array of bytes that is next, for [`Reader::fill`].
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn announced(&mut self) -> Result<usize, Broken> {
        self.length(1)
    }

    /// The array that was announced, into a place of that length: every byte of it is written.
    ///
    /// # Errors
    /// Where fewer are left.
    pub fn fill(&mut self, to: &mut [MaybeUninit<u8>]) -> Result<(), Broken> {
        if to.len() as u64 > self.arrays.left() {
            return Err(Broken("an array is longer than what is left"));
        }
        self.arrays.fill(to);
        Ok(())
    }

    /// An array of floats.
    ///
    /// # Errors
    /// Where fewer are left.
    #[allow(unsafe_code, reason = "floats are read as the bytes that they are, without zeros first")]
    pub fn floats(&mut self) -> Result<Vec<f32>, Broken> {
        let length = self.length(4)?;
        let mut floats: Vec<f32> = Vec::with_capacity(length);
        let room = floats.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: there is room for so many floats of four bytes, and any bits are a float.
        unsafe {
            self.arrays.fill(std::slice::from_raw_parts_mut(room, 4 * length));
            floats.set_len(length);
        }
        Ok(floats)
    }

    /// An array of floats, which may stay where it is.
    pub(crate) fn numbers(&mut self) -> Result<Numbers<f32>, Broken> {
        let before = self.head;
        let length = self.length(4)?;
        if let Some(far) = self.arrays.leave(4 * length as u64) {
            return Ok(Numbers::Far(far, length));
        }
        self.head = before;
        self.floats().map(Numbers::Here)
    }

    /// An array of bytes, which may stay where it is.
    pub(crate) fn whole_numbers(&mut self) -> Result<Numbers<u8>, Broken> {
        let before = self.head;
        let length = self.length(1)?;
        if let Some(far) = self.arrays.leave(length as u64) {
            return Ok(Numbers::Far(far, length));
        }
        self.head = before;
        self.bytes().map(Numbers::Here)
    }

    /// Several of a kind.
    ///
    /// # Errors
    /// Those of one.
    pub fn each<T: Imaged>(&mut self) -> Result<Vec<T>, Broken> {
        (0..self.count()?).map(|_| T::read(self)).collect()
    }

    /// Ends the image.
    ///
    /// # Errors
    /// Where something is left.
    pub fn end(self) -> Result<(), Broken> {
        if self.head.is_empty() && self.arrays.left() == 0 {
            Ok(())
        } else {
            Err(Broken("something is left"))
        }
    }

    /// The length of an array of numbers of so many bytes, which are left.
    fn length(&mut self, bytes: u64) -> Result<usize, Broken> {
        let length = self.number()?;
        match length.checked_mul(bytes) {
            Some(all) if all <= self.arrays.left() && usize::try_from(all).is_ok() => Ok(length as usize),
            _ => Err(Broken("an array is longer than what is left")),
        }
    }
}

#[cfg(test)]
mod tests;
