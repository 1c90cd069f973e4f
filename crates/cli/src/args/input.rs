//! Arguments about what goes into a model and what is shown of what comes out.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What a model is given.
#[derive(Args, Clone, Debug, Default)]
pub struct InputArgs {
    /// What an input is given: NAME=SOURCE, or SOURCE alone where the model has one input
    ///
    /// A source is a picture (.png, .jpg), an array (.npy, .npz:KEY), nested lists (.json), raw little-endian
    /// elements (.bin, .raw), or random:SEED. An .npz without a key gives every input the array of its name, and
    /// random:SEED without a name gives every input something. Several sources for one input, or a folder of
    /// pictures, are several inferences.
    #[arg(short, long = "input", value_name = "[NAME=]SOURCE", num_args = 1..)]
    pub inputs: Vec<String>,

    /// The shape of an input with dynamic axes: [NAME=]1x3x224x224
    #[arg(long = "shape", value_name = "[NAME=]DIMS")]
    pub shapes: Vec<String>,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub picture: PictureArgs,
}

/// How a picture becomes a tensor.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Pictures")]
pub struct PictureArgs {
    /// Where the channels are; auto tells by the axis of 1, 3 or 4
    #[arg(long, value_enum, default_value_t)]
    pub layout: Layout,

    /// Grey or three colours; auto does what the channel axis says
    #[arg(long, visible_alias = "colors", value_enum, default_value_t)]
    pub colours: Colours,

    /// What a sample of 0 to 255 becomes; auto is unit for floats and byte for integers
    #[arg(long, value_enum, default_value_t)]
    pub scale: Scale,

    /// Subtracted from every scaled sample: one number, or one per channel
    #[arg(long, value_name = "M,M,M", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Vec<f64>,

    /// Divides what is left: one number, or one per channel
    #[arg(long, value_name = "S,S,S", value_delimiter = ',')]
    pub std: Vec<f64>,

    /// The filter that resizes to the model's height and width
    #[arg(long, value_enum, default_value_t)]
    pub resize: Resize,

    /// Stretch the picture, or cover the frame and cut what stands out
    #[arg(long, value_enum, default_value_t)]
    pub fit: Fit,

    /// The size where the model leaves it open (the picture's own by default)
    #[arg(long, value_name = "WIDTHxHEIGHT", value_parser = parse_size)]
    pub size: Option<Size>,
}

#[allow(missing_docs, reason = "the variants are the values that the flag's help explains")]
mod choices {
    use clap::ValueEnum;

    #[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
    pub enum Layout {
        #[default]
        Auto,
        Nchw,
        Nhwc,
    }

    #[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
    pub enum Colours {
        #[default]
        Auto,
        #[value(alias = "gray")]
        Grey,
        #[value(alias = "color")]
        Colour,
    }

    #[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
    pub enum Fit {
        #[default]
        Stretch,
        Cover,
    }
}
pub use choices::{Colours, Fit, Layout};

/// What a sample of 0 to 255 becomes.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
pub enum Scale {
    /// Unit for floats, byte for integers
    #[default]
    Auto,
    /// 0 to 1
    Unit,
    /// -1 to 1
    Signed,
    /// 0 to 255
    Byte,
}

/// The filter that resizes.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq)]
pub enum Resize {
    /// Linear, averaging where it shrinks: what PIL and torchvision call bilinear
    #[default]
    Triangle,
    /// The mean of the pixels that fall together
    Box,
    /// Catmull-Rom
    Cubic,
    /// Lanczos with three lobes
    Lanczos,
    /// The nearest pixel
    Nearest,
}

/// Width and height.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// Largest side of a picture that is made: 16,384 pixels, so that four channels of both sides fit in memory.
const MAX_SIDE: u32 = 16_384;

fn parse_size(text: &str) -> Result<Size, String> {
    let (width, height) = text.split_once('x').unwrap_or((text, text));
    let side = |text: &str| text.parse().ok().filter(|n| (1..=MAX_SIDE).contains(n));
    match (side(width), side(height)) {
        (Some(width), Some(height)) => Ok(Size { width, height }),
        _ => Err(format!("a size is WIDTHxHEIGHT, 1 to {MAX_SIDE} pixels each")),
    }
}

/// What is shown and kept of a model's answer.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Answers")]
pub struct AnswerArgs {
    /// Show the K best classes of the last axis
    #[arg(long, value_name = "K", num_args = 0..=1, default_missing_value = "5")]
    pub top: Option<usize>,

    /// Names of the classes, one a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Turn scores into probabilities before showing the best
    #[arg(long)]
    pub softmax: bool,

    /// Keep the outputs: one .npy file, or a folder of them
    #[arg(long, value_name = "DIR|FILE.npy")]
    pub save: Option<PathBuf>,

    /// Print everything as JSON (numbers that JSON has not, such as NaN, as null)
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("640x480"), Ok(Size { width: 640, height: 480 }));
        assert_eq!(parse_size("224"), Ok(Size { width: 224, height: 224 }));
        for wrong in ["", "x", "0x5", "4x", "-1x1", "99999x1"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
