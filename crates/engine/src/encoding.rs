//! Encodings: which are served, how a file's is told by its first bytes, and what to do about the others.

use ic_nn_types::{EncodingSupport, Error, ErrorCode, GraphEncoding};

use crate::{MAX_OPSET, MIN_OPSET};

/// Bytes of a file's beginning that tell its encoding.
pub const HEAD_BYTES: usize = 512;

/// What a file's first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Magic {
    Onnx,
    TensorFlowLite,
    Ggml,
    Zip,
    Xml,
    Hdf5,
    Tar,
    Unknown,
}

/// Which reader a file goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Onnx,
    Nnef,
    TensorFlow,
    TensorFlowLite,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Onnx => "ONNX",
            Format::Nnef => "NNEF",
            Format::TensorFlow => "TensorFlow",
            Format::TensorFlowLite => "TensorFlow Lite",
        }
    }
}

fn magic(head: &[u8]) -> Magic {
    match head {
        // ir_version, the first field of ModelProto, a small number; exporters write it first.
        [0x08, 1..=0x7f, ..] => Magic::Onnx,
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Magic::TensorFlowLite,
        [b'G', b'G', b'U', b'F', ..] | [b'g', b'g', b'm' | b'j', _, ..] | [b'l', b'm', b'g', b'g', ..] => {
            Magic::Ggml
        }
        [b'P', b'K', 3, 4, ..] => Magic::Zip,
        [b'<', b'?', b'x', b'm', b'l', ..] | [b'<', b'n', b'e', b't', ..] => Magic::Xml,
        [0x89, b'H', b'D', b'F', ..] => Magic::Hdf5,
        [0x1f, 0x8b, ..] => Magic::Tar,
        _ if head.get(257..262) == Some(b"ustar") => Magic::Tar,
        _ => Magic::Unknown,
    }
}

/// Holds a model to the encoding that it is said to have, and tells which it is.
///
/// `autodetect` goes by the file's first bytes: an ONNX file begins with its `ir_version` (08, then 01 to 7f), a TensorFlow
/// Lite file has `TFL3` at byte 4, NNEF comes as a tar (`ustar` at byte 257) or gzip (1f 8b); what begins with the mark of
/// a format that is not served is refused with the way to ONNX; a file without any mark is read as ONNX, and refused there
/// if it is none, since protobuf fields may come in any order. A TensorFlow graph has no mark: it has to be named. NNEF has no
/// label in wasi-nn and stays `autodetect`.
///
/// # Errors
/// `invalid_encoding`, with what came and what to do.
pub fn check(encoding: GraphEncoding, head: &[u8]) -> Result<GraphEncoding, Error> {
    Ok(match format(encoding, head)? {
        Format::Onnx => GraphEncoding::Onnx,
        Format::Nnef => GraphEncoding::Autodetect,
        Format::TensorFlow => GraphEncoding::TensorFlow,
        Format::TensorFlowLite => GraphEncoding::TensorFlowLite,
    })
}

/// Which reader takes a file that is said to be of `encoding` and begins with `head`.
pub(crate) fn format(encoding: GraphEncoding, head: &[u8]) -> Result<Format, Error> {
    served(encoding)?;
    let refuse = |what: &str| Err(Error::new(ErrorCode::InvalidEncoding, format!("the file is {what}")));
    let magic = magic(head);
    let detects = encoding == GraphEncoding::Autodetect;
    let what = match magic {
        Magic::Onnx | Magic::Unknown => {
            return match encoding {
                // Nothing marks a TensorFlow graph; its reader tells.
                GraphEncoding::TensorFlow => Ok(Format::TensorFlow),
                GraphEncoding::TensorFlowLite => {
                    refuse("no TensorFlow Lite file: `TFL3` is missing at byte 4")
                }
                _ => Ok(Format::Onnx),
            };
        }
        Magic::TensorFlowLite
            if cfg!(feature = "tensorflowlite") && (detects || encoding == GraphEncoding::TensorFlowLite) =>
        {
            return Ok(Format::TensorFlowLite);
        }
        Magic::Tar if cfg!(feature = "nnef") && detects => return Ok(Format::Nnef),
        Magic::TensorFlowLite => {
            "a TensorFlow Lite file; convert it: python -m tf2onnx.convert --tflite model.tflite --output model.onnx"
        }
        Magic::Ggml => {
            "a GGML or GGUF file; export the model it was made from to ONNX (optimum-cli export onnx)"
        }
        Magic::Zip => {
            "a zip, as PyTorch and Keras save models; export it: torch.onnx.export, or python -m tf2onnx.convert"
        }
        Magic::Xml => "XML, as OpenVINO keeps models; export the model it was made from to ONNX",
        Magic::Hdf5 => "an HDF5 file, as Keras saved models; export it: python -m tf2onnx.convert",
        Magic::Tar => "a tar or gzip archive, as NNEF and saved models come in; export the model to ONNX",
    };
    refuse(what)
}

/// Refuses an encoding that is not served, with the way to one that is.
///
/// # Errors
/// `invalid_encoding`.
pub fn served(encoding: GraphEncoding) -> Result<(), Error> {
    let support = describe(encoding);
    if support.supported {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidEncoding,
        format!("`{}` is not served: {}", label(encoding), support.detail),
    ))
}

/// Every encoding, and what of it is served.
pub fn support() -> Vec<EncodingSupport> {
    use GraphEncoding::*;
    [OpenVino, Onnx, TensorFlow, PyTorch, TensorFlowLite, Ggml, Autodetect].map(describe).to_vec()
}

fn describe(encoding: GraphEncoding) -> EncodingSupport {
    let (supported, detail) = match encoding {
        GraphEncoding::Onnx => {
            (true, format!("opset {MIN_OPSET} to {MAX_OPSET}; external data as further builders"))
        }
        GraphEncoding::Autodetect if cfg!(feature = "nnef") => {
            (true, "by the file's first bytes; NNEF, as tar or gzipped tar, goes by this label".into())
        }
        GraphEncoding::Autodetect => (true, "by the file's first bytes".into()),
        GraphEncoding::OpenVino => (false, "export the model that it was made from to ONNX".into()),
        GraphEncoding::PyTorch => (false, "export it: torch.onnx.export(model, args, \"model.onnx\")".into()),
        GraphEncoding::Ggml => {
            (false, "export the model that it was made from to ONNX (optimum-cli export onnx)".into())
        }
        GraphEncoding::TensorFlow if cfg!(feature = "tensorflow") => {
            (true, "a frozen GraphDef, its variables made constants".into())
        }
        GraphEncoding::TensorFlowLite if cfg!(feature = "tensorflowlite") => {
            (true, "one subgraph; shapes as the file has them".into())
        }
        GraphEncoding::TensorFlow => {
            (false, "convert it: python -m tf2onnx.convert --saved-model DIR --output model.onnx".into())
        }
        GraphEncoding::TensorFlowLite => {
            (false, "convert it: python -m tf2onnx.convert --tflite model.tflite --output model.onnx".into())
        }
    };
    EncodingSupport { encoding, supported, detail }
}

/// The label as it stands in Candid.
pub fn label(encoding: GraphEncoding) -> &'static str {
    match encoding {
        GraphEncoding::OpenVino => "openvino",
        GraphEncoding::Onnx => "onnx",
        GraphEncoding::TensorFlow => "tensorflow",
        GraphEncoding::PyTorch => "pytorch",
        GraphEncoding::TensorFlowLite => "tensorflowlite",
        GraphEncoding::Ggml => "ggml",
        GraphEncoding::Autodetect => "autodetect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_beginning() {
        let tar = [&[b'g'; 257][..], b"ustar\0"].concat();
        for (head, word) in [
            (&b"\x1c\0\0\0TFL3"[..], "tflite"),
            (b"GGUF\x03", "GGUF"),
            (b"PK\x03\x04", "torch.onnx.export"),
            (b"<?xml version", "OpenVINO"),
            (b"\x89HDF\r\n", "Keras"),
            (b"\x1f\x8b\x08", "NNEF"),
            (&tar, "NNEF"),
        ] {
            let built_in = cfg!(feature = "nnef") && word == "NNEF"
                || cfg!(feature = "tensorflowlite") && word == "tflite";
            for encoding in [GraphEncoding::Autodetect, GraphEncoding::Onnx] {
                if built_in && encoding == GraphEncoding::Autodetect {
                    assert!(check(encoding, head).is_ok_and(|e| e != GraphEncoding::Onnx));
                    continue;
                }
                let error = check(encoding, head).expect_err(word);
                assert_eq!(error.code, ErrorCode::InvalidEncoding);
                assert!(error.data.contains(word), "{error}");
            }
        }
        for head in [&b"\x08\x07\x12\x04"[..], b"", b"\x3a\x10"] {
            assert_eq!(check(GraphEncoding::Autodetect, head), Ok(GraphEncoding::Onnx));
        }
        for other in [GraphEncoding::PyTorch, GraphEncoding::Ggml, GraphEncoding::OpenVino] {
            let error = check(other, b"\x08\x07").expect_err("not served");
            assert!(error.data.contains("ONNX") || error.data.contains("onnx"), "{error}");
        }
    }
}
