//! A PNG or JPEG as the tensor that the model wants.
//!
//! The picture is turned grey or coloured as the channel axis asks, resized to the height and width, scaled,
//! normalised, and laid out with channels first or last. What the description leaves open the options decide, and
//! what both leave open is guessed as documented on [`Plan::new`].

use std::path::Path;

use ic_nn_types::{TensorDescription, TensorType};
use image::DynamicImage;
use image::imageops::FilterType;

use super::array::Array;
use crate::args::{Colours, Fit, Layout, PictureArgs, Resize, Scale};
use crate::elements::Number;

/// How pictures become tensors of one input.
#[derive(Debug, PartialEq)]
pub struct Plan {
    axes: Axes,
    channels: u32,
    /// Height and width; none where both the model and the options leave them to the picture.
    height: Option<u32>,
    width: Option<u32>,
    scale: Scale,
    resize: Resize,
    fit: Fit,
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// Where the axes of a picture are in the tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Axes {
    /// Height, width: one channel.
    Plane,
    /// Channels, height, width, behind a batch axis or not.
    First { batch: bool },
    /// Height, width, channels, behind a batch axis or not.
    Last { batch: bool },
}

impl Plan {
    /// Plans for `wanted`.
    ///
    /// Layout: an axis of 1, 3 or 4 in the channels' place tells; where both places or none have one, channels are
    /// first. Colours: the channel axis; 3 where that is dynamic. Scale: 0 to 1 for floats, 0 to 255 for integers.
    pub fn new(wanted: &TensorDescription, options: &PictureArgs) -> Result<Self, String> {
        let dims = &wanted.dimensions;
        let channel_like = |d: Option<u32>| matches!(d, Some(1 | 3 | 4));
        let last = match options.layout {
            Layout::Nhwc => true,
            Layout::Nchw => false,
            Layout::Auto if dims.len() >= 3 => {
                !channel_like(dims[dims.len() - 3]) && channel_like(dims[dims.len() - 1])
            }
            Layout::Auto => false,
        };
        let (axes, channel_axis, height, width) = match (dims.as_slice(), last) {
            ([h, w], _) => (Axes::Plane, Some(1), *h, *w),
            ([c, h, w], false) => (Axes::First { batch: false }, *c, *h, *w),
            ([h, w, c], true) => (Axes::Last { batch: false }, *c, *h, *w),
            ([Some(1) | None, c, h, w], false) => (Axes::First { batch: true }, *c, *h, *w),
            ([Some(1) | None, h, w, c], true) => (Axes::Last { batch: true }, *c, *h, *w),
            _ => {
                return Err(format!(
                    "a picture does not fill {}: it has height, width, perhaps channels and a batch of one",
                    crate::format::shape(dims)
                ));
            }
        };
        let channels = match (options.colours, channel_axis) {
            (Colours::Grey, None | Some(1)) | (Colours::Auto, Some(1)) => 1,
            (Colours::Colour, None | Some(3)) | (Colours::Auto, None | Some(3)) => 3,
            (Colours::Auto, Some(4)) => 4,
            (colours, Some(n)) => {
                let layout = if last { "last" } else { "first" };
                let asked = match colours {
                    Colours::Grey => "a grey picture",
                    Colours::Colour => "a picture of three colours",
                    Colours::Auto => "a picture",
                };
                return Err(format!(
                    "{asked} does not have the {n} channels of {} (channels {layout}; --layout says otherwise)",
                    crate::format::shape(dims)
                ));
            }
        };
        let integers =
            !matches!(wanted.ty, TensorType::FP16 | TensorType::BF16 | TensorType::FP32 | TensorType::FP64);
        let scale = match options.scale {
            Scale::Auto if integers => Scale::Byte,
            Scale::Auto => Scale::Unit,
            scale => scale,
        };
        let mean = per_channel("--mean", &options.mean, channels, 0.0)?;
        let std = per_channel("--std", &options.std, channels, 1.0)?;
        if std.contains(&0.0) {
            return Err("--std divides, so it cannot be 0".to_owned());
        }
        let (height, width) = match options.size {
            Some(size) => (height.or(Some(size.height)), width.or(Some(size.width))),
            None => (height, width),
        };
        Ok(Plan { axes, channels, height, width, scale, resize: options.resize, fit: options.fit, mean, std })
    }

    /// Reads a picture from a file.
    pub fn read(&self, path: &Path) -> Result<Array, String> {
        let picture = image::ImageReader::open(path)
            .and_then(image::ImageReader::with_guessed_format)
            .map_err(|e| e.to_string())?
            .decode()
            .map_err(|e| e.to_string())?;
        Ok(self.array(picture))
    }

    fn array(&self, picture: DynamicImage) -> Array {
        // Eight bits and the final channels first, so that resizing sees what other programs see.
        let picture: DynamicImage = match self.channels {
            1 => picture.into_luma8().into(),
            3 => picture.into_rgb8().into(),
            _ => picture.into_rgba8().into(),
        };
        let height = self.height.unwrap_or(picture.height());
        let width = self.width.unwrap_or(picture.width());
        let picture = if (picture.height(), picture.width()) == (height, width) {
            picture
        } else {
            self.resized(&picture, height, width)
        };
        self.lay_out(picture.as_bytes(), height, width)
    }

    fn resized(&self, picture: &DynamicImage, height: u32, width: u32) -> DynamicImage {
        let filter = match self.resize {
            Resize::Nearest => FilterType::Nearest,
            Resize::Triangle => FilterType::Triangle,
            Resize::Cubic => FilterType::CatmullRom,
            Resize::Lanczos => FilterType::Lanczos3,
            Resize::Box => return self.framed(picture, height, width).thumbnail_exact(width, height),
        };
        self.framed(picture, height, width).resize_exact(width, height, filter)
    }

    /// The part of the picture that is resized: all of it, or the largest middle part of the frame's proportions.
    fn framed(&self, picture: &DynamicImage, height: u32, width: u32) -> DynamicImage {
        if self.fit == Fit::Stretch {
            return picture.clone();
        }
        let (h, w) = (u64::from(picture.height()), u64::from(picture.width()));
        let (frame_h, frame_w) = (u64::from(height), u64::from(width));
        // The side that is too long in proportion is cut; neither grows, and none becomes nothing.
        let cut_w = (h * frame_w / frame_h).clamp(1, w);
        let cut_h = (w * frame_h / frame_w).clamp(1, h);
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        picture.crop_imm(narrow((w - cut_w) / 2), narrow((h - cut_h) / 2), narrow(cut_w), narrow(cut_h))
    }

    /// `bytes` holds height x width x channels samples.
    fn lay_out(&self, bytes: &[u8], height: u32, width: u32) -> Array {
        let channels = self.channels as usize;
        let value = |index: usize| {
            let sample = f64::from(bytes.get(index).copied().unwrap_or_default());
            let scaled = match self.scale {
                Scale::Byte => sample,
                Scale::Signed => sample / 127.5 - 1.0,
                Scale::Auto | Scale::Unit => sample / 255.0,
            };
            let channel = index % channels;
            Number::Float((scaled - self.mean[channel]) / self.std[channel])
        };
        let pixels = height as usize * width as usize;
        let values = match self.axes {
            Axes::First { .. } => {
                (0..channels).flat_map(|c| (0..pixels).map(move |p| p * channels + c)).map(value).collect()
            }
            Axes::Plane | Axes::Last { .. } => (0..pixels * channels).map(value).collect(),
        };
        let (h, w, c) = (u64::from(height), u64::from(width), u64::from(self.channels));
        let shape = match self.axes {
            Axes::Plane => vec![h, w],
            Axes::First { batch: false } => vec![c, h, w],
            Axes::First { batch: true } => vec![1, c, h, w],
            Axes::Last { batch: false } => vec![h, w, c],
            Axes::Last { batch: true } => vec![1, h, w, c],
        };
        Array { shape, ty: None, values }
    }
}

fn per_channel(flag: &str, given: &[f64], channels: u32, default: f64) -> Result<Vec<f64>, String> {
    match given {
        [] => Ok(vec![default; channels as usize]),
        [one] => Ok(vec![*one; channels as usize]),
        many if many.len() == channels as usize => Ok(many.to_vec()),
        many => Err(format!("{flag} has {} values, the picture has {channels} channels", many.len())),
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn wanted(ty: TensorType, dimensions: &[u32]) -> TensorDescription {
        let dimensions: Vec<Option<u32>> = dimensions.iter().map(|d| (*d > 0).then_some(*d)).collect();
        let symbols = vec![None; dimensions.len()];
        TensorDescription { name: "image".into(), ty, dimensions, symbols }
    }

    fn picture() -> DynamicImage {
        // Two pixels wide, one high: red, then a blue of half brightness.
        RgbImage::from_fn(2, 1, |x, _| if x == 0 { Rgb([255, 0, 0]) } else { Rgb([0, 0, 128]) }).into()
    }

    fn values(array: &Array) -> Vec<f64> {
        array.values.iter().map(|v| v.as_f64()).collect()
    }

    #[test]
    fn channels_go_first_or_last_as_the_model_has_them() {
        let options = PictureArgs { scale: Scale::Byte, ..PictureArgs::default() };
        let first = Plan::new(&wanted(TensorType::FP32, &[1, 3, 1, 2]), &options).unwrap().array(picture());
        assert_eq!(first.shape, [1, 3, 1, 2]);
        assert_eq!(values(&first), [255., 0., 0., 0., 0., 128.]);
        let last = Plan::new(&wanted(TensorType::FP32, &[1, 1, 2, 3]), &options);
        // 1 in the place of channels first, 3 in that of channels last: first wins, and 1 is grey.
        assert_eq!(last.unwrap().axes, Axes::First { batch: true });
        let options = PictureArgs { layout: Layout::Nhwc, ..options };
        let last = Plan::new(&wanted(TensorType::FP32, &[0, 1, 2, 3]), &options).unwrap().array(picture());
        assert_eq!(last.shape, [1, 1, 2, 3]);
        assert_eq!(values(&last), [255., 0., 0., 0., 0., 128.]);
    }

    #[test]
    fn layout_is_guessed_from_the_channel_axis() {
        let auto = PictureArgs::default();
        let plan = |dims: &[u32]| Plan::new(&wanted(TensorType::FP32, dims), &auto).unwrap();
        assert_eq!(plan(&[1, 224, 224, 3]).axes, Axes::Last { batch: true });
        assert_eq!(plan(&[1, 3, 224, 224]).axes, Axes::First { batch: true });
        assert_eq!(plan(&[0, 3, 0, 0]).axes, Axes::First { batch: true });
        assert_eq!(plan(&[28, 28, 1]).axes, Axes::Last { batch: false });
        assert_eq!(plan(&[28, 28]).axes, Axes::Plane);
        assert_eq!(plan(&[1, 28, 28]).channels, 1);
    }

    #[test]
    fn scale_and_normalisation() {
        let options = PictureArgs { mean: vec![0.5], std: vec![0.5], ..PictureArgs::default() };
        let plan = Plan::new(&wanted(TensorType::FP32, &[3, 1, 2]), &options).unwrap();
        let array = plan.array(picture());
        assert_eq!(values(&array)[..2], [1.0, -1.0]);
        let integers = Plan::new(&wanted(TensorType::U8, &[3, 1, 2]), &PictureArgs::default()).unwrap();
        assert_eq!(values(&integers.array(picture())), [255., 0., 0., 0., 0., 128.]);
        let signed = PictureArgs { scale: Scale::Signed, ..PictureArgs::default() };
        let plan = Plan::new(&wanted(TensorType::FP32, &[3, 1, 2]), &signed).unwrap();
        assert_eq!(values(&plan.array(picture()))[..2], [1.0, -1.0]);
    }

    #[test]
    fn the_model_sets_the_size_and_dynamic_axes_take_the_picture_s() {
        let plan = Plan::new(&wanted(TensorType::FP32, &[1, 1, 4, 4]), &PictureArgs::default()).unwrap();
        assert_eq!(plan.array(picture()).shape, [1, 1, 4, 4]);
        let plan = Plan::new(&wanted(TensorType::FP32, &[1, 3, 0, 0]), &PictureArgs::default()).unwrap();
        assert_eq!(plan.array(picture()).shape, [1, 3, 1, 2]);
    }

    #[test]
    fn box_is_the_mean_and_cover_keeps_the_proportions() {
        let grey = image::GrayImage::from_fn(4, 2, |x, _| image::Luma([x as u8 * 60])).into();
        let options = PictureArgs { scale: Scale::Byte, resize: Resize::Box, ..PictureArgs::default() };
        let plan = Plan::new(&wanted(TensorType::FP32, &[1, 2]), &options).unwrap();
        assert_eq!(values(&plan.array(DynamicImage::clone(&grey))), [30., 150.]);
        let options = PictureArgs { fit: Fit::Cover, ..options };
        let plan = Plan::new(&wanted(TensorType::FP32, &[1, 1]), &options).unwrap();
        assert_eq!(values(&plan.array(grey)), [90.]);
    }

    #[test]
    fn what_is_no_picture_s_shape_is_said() {
        for (dims, why) in [
            (&[10][..], "does not fill [10]"),
            (&[1, 7, 8, 8], "7 channels"),
            (&[5, 3, 8, 8], "does not fill"),
        ] {
            let error = Plan::new(&wanted(TensorType::FP32, dims), &PictureArgs::default()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let options = PictureArgs { mean: vec![0.1, 0.2], ..PictureArgs::default() };
        let error = Plan::new(&wanted(TensorType::FP32, &[3, 8, 8]), &options).unwrap_err();
        assert!(error.contains("--mean has 2 values"), "{error}");
    }
}
