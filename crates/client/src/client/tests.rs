//! Calls of several arguments, and tensors in parts, against a service in memory.

use std::cell::RefCell;

use ic_nn_types::{DeleteRequest, GraphDescription, OutputPart, OutputRange, Tensor, TensorType};

use super::*;

/// A context's one tensor, and what it was asked.
struct Contexts {
    tensor: RefCell<Tensor>,
    /// Most bytes of a reply.
    holds: usize,
    /// Offsets that were set or asked for.
    offsets: RefCell<Vec<Option<u64>>>,
    /// From the second part on, says another total.
    torn: bool,
}

impl Contexts {
    fn client(tensor: Tensor, holds: usize, torn: bool) -> Client<Contexts> {
        Client::new(Contexts { tensor: tensor.into(), holds, offsets: RefCell::default(), torn })
    }
}

impl Transport for Contexts {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        assert_eq!(method, "set_input");
        let (context, name, part, offset): (u64, String, Tensor, Option<u64>) =
            candid::decode_args(arg).expect("the interface's types");
        assert_eq!((context, name.as_str()), (7, "x"));
        assert!(arg.len() < 2_000_000, "{} bytes in a message", arg.len());
        self.offsets.borrow_mut().push(offset);
        let mut tensor = self.tensor.borrow_mut();
        assert_eq!((&part.dimensions, part.ty), (&tensor.dimensions, tensor.ty));
        let at = offset.unwrap_or(0) as usize;
        tensor.data[at..at + part.data.len()].copy_from_slice(&part.data);
        Ok(candid::encode_one(Ok::<(), Error>(())).expect("it encodes"))
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        assert_eq!(method, "get_output");
        let (_, _, range): (u64, String, Option<OutputRange>) =
            candid::decode_args(arg).expect("the interface's types");
        let offset = range.and_then(|r| r.offset);
        self.offsets.borrow_mut().push(offset);
        let at = offset.unwrap_or(0) as usize;
        let tensor = self.tensor.borrow();
        let end = tensor.data.len().min(at + self.holds);
        let part = OutputPart {
            dimensions: tensor.dimensions.clone(),
            ty: tensor.ty,
            total_bytes: tensor.data.len() as u64 + u64::from(self.torn && at > 0),
            offset: at as u64,
            data: tensor.data[at..end].to_vec(),
            instructions: None,
        };
        Ok(candid::encode_one(Ok::<_, Error>(part)).expect("it encodes"))
    }
}

fn bytes(length: u32) -> Tensor {
    let data = (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    Tensor { dimensions: vec![length], ty: TensorType::U8, data }
}

#[test]
fn an_output_is_put_together_from_its_parts() {
    for (length, holds, calls) in [(0, 4, 1), (4, 4, 1), (9, 4, 3)] {
        let client = Contexts::client(bytes(length), holds, false);
        assert_eq!(client.fetch_output(7, "y").expect("whole"), bytes(length));
        assert_eq!(client.transport().offsets.borrow().len(), calls, "{length} bytes");
    }
}

#[test]
fn an_output_whose_parts_disagree_is_an_error() {
    let torn = Contexts::client(bytes(9), 4, true).fetch_output(7, "y");
    assert!(
        matches!(&torn, Err(ClientError::Tensor { message, .. }) if message.contains("changed")),
        "{torn:?}"
    );
    let endless = Contexts::client(bytes(9), 0, false).fetch_output(7, "y");
    assert!(
        matches!(&endless, Err(ClientError::Tensor { message, .. }) if message.contains("ends")),
        "{endless:?}"
    );
    let mut odd = bytes(9);
    odd.dimensions = vec![10];
    let odd = Contexts::client(odd, 4, false).fetch_output(7, "y");
    assert!(matches!(odd, Err(ClientError::Tensor { .. })), "{odd:?}");
}

#[test]
fn an_input_goes_in_parts_where_a_message_does_not_hold_it() {
    for (length, offsets) in [(5, vec![None]), (4_000_000, vec![Some(0), Some(1_900_544), Some(3_801_088)])] {
        let mut empty = bytes(length);
        empty.data.fill(0);
        let client = Contexts::client(empty, 0, false);
        client.set_whole_input(7, "x", &bytes(length)).expect("set");
        assert_eq!(*client.transport().tensor.borrow(), bytes(length));
        assert_eq!(*client.transport().offsets.borrow(), offsets);
    }
}

/// Answers nothing, and keeps what it is told.
#[derive(Default)]
struct Silent(RefCell<Vec<(String, Vec<u8>)>>);

impl Transport for Silent {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.0.borrow_mut().push((method.to_owned(), arg.to_vec()));
        Ok(candid::encode_args(()).expect("it encodes"))
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        self.update(method, arg)
    }
}

#[test]
fn what_answers_nothing_is_done_when_it_answers() {
    let client = Client::new(Silent::default());
    client.append_chunk(&[1, 2]).expect("done");
    client.append_parallel_chunk(3, &[4]).expect("done");
    let calls = client.transport().0.take();
    let (data,): (Vec<u8>,) = candid::decode_args(&calls[0].1).expect("a blob");
    let (index, part): (u32, Vec<u8>) = candid::decode_args(&calls[1].1).expect("a number and a blob");
    assert_eq!((data, index, part), (vec![1, 2], 3, vec![4]));
    // A method that answers a result does not take nothing for one.
    assert!(matches!(client.unload(1), Err(ClientError::Decode { method: "unload", .. })));
}

/// A registry of `m:1` and `m:3`, which has the label `best`.
#[derive(Default)]
struct Registry(RefCell<Option<DeleteRequest>>);

impl Transport for Registry {
    fn update(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        assert_eq!(method, "delete");
        let (request,): (DeleteRequest,) = candid::decode_args(arg).expect("the interface's types");
        *self.0.borrow_mut() = Some(request);
        Ok(candid::encode_one(Ok::<u32, Error>(1)).expect("it encodes"))
    }

    fn query(&self, method: &str, arg: &[u8]) -> Result<Vec<u8>, CallError> {
        let version = |version: u64| ic_nn_types::ModelSummary {
            name: "m".into(),
            version,
            labels: vec![],
            encoding: None,
            bytes: 1,
            sha256: vec![version as u8; 32],
            state: Some(ic_nn_types::ModelState::Available),
            uploader: candid::Principal::anonymous(),
            committed_at: 0,
        };
        if method == "list" {
            let page = ic_nn_types::ListPage { models: vec![version(1), version(3)], next: None };
            return Ok(candid::encode_one(Ok::<_, Error>(page)).expect("it encodes"));
        }
        let (model,): (String,) = candid::decode_args(arg).expect("a text");
        let found = version(if model == "m:1" { 1 } else { 3 });
        let description = GraphDescription {
            name: found.name,
            version: found.version,
            encoding: None,
            sha256: found.sha256,
            bytes: 1,
            inputs: vec![],
            outputs: vec![],
            operators: vec![],
            parameters: 0,
            weights: vec![],
            quantised_operators: 0,
            macs: None,
            peak_bytes: None,
            opset: None,
            producer: String::new(),
            provenance: Default::default(),
            labels: vec![],
            graph: None,
            load_instructions: 0,
            trial_instructions: None,
            trial_refusal: None,
            runs: vec![],
        };
        Ok(candid::encode_one(Ok::<_, Error>(description)).expect("it encodes"))
    }
}

#[test]
fn a_deletion_names_what_goes_by_its_sha256() {
    for (model, reference, versions) in
        [("m", "m", &[1u64, 3][..]), ("m:1", "m:1", &[1]), ("m@best", "m:3", &[3])]
    {
        let client = Client::new(Registry::default());
        let deletion = client.deletion_of(model).expect("known");
        assert_eq!(deletion.versions.iter().map(|v| v.0).collect::<Vec<_>>(), versions, "{model}");
        client.delete_named(model).expect("deleted");
        let request = client.transport().0.take().expect("asked");
        assert_eq!(request.model, reference);
        assert_eq!(request.sha256, vec![*versions.last().expect("one") as u8; 32]);
        assert_eq!(request, deletion.request);
    }
}
