//! What a graph takes and gives, and what it is made of.

use ic_nn_types::{OperatorCount, Tensor, TensorDescription, TensorType, WeightCount};

/// One axis of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Always this long.
    Fixed(u32),
    /// As long as every other axis of that name in the same call.
    Symbol(String),
    /// Any length.
    Any,
}

impl Dimension {
    /// The length where it is fixed.
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Dimension::Fixed(n) => Some(*n),
            Dimension::Symbol(_) | Dimension::Any => None,
        }
    }

    /// The name where it has one.
    pub fn symbol(&self) -> Option<String> {
        match self {
            Dimension::Symbol(name) => Some(name.clone()),
            Dimension::Fixed(_) | Dimension::Any => None,
        }
    }
}

impl std::fmt::Display for Dimension {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Dimension::Fixed(n) => write!(f, "{n}"),
            Dimension::Symbol(s) => f.write_str(s),
            Dimension::Any => f.write_str("?"),
        }
    }
}

/// An input as the file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputDescription {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub ty: TensorType,
    /// Axes, outermost first.
    pub dimensions: Vec<Dimension>,
}

impl InputDescription {
    /// `[1, 3, height, ?]`
    pub(crate) fn shape(&self) -> String {
        shape(&self.dimensions)
    }

    /// The shape with every dynamic axis 1 long.
    pub(crate) fn smallest(&self) -> Vec<u32> {
        self.dimensions.iter().map(|d| d.fixed().unwrap_or(1)).collect()
    }

    /// Zeros of that shape.
    pub(crate) fn zeros(&self) -> Tensor {
        let dimensions = self.smallest();
        let bytes = dimensions.iter().map(|&d| d as usize).product::<usize>() * self.ty.size();
        Tensor { dimensions, ty: self.ty, data: vec![0; bytes] }
    }
}

/// Axes as people read them: `[1, 3, height, ?]`.
pub(crate) fn shape<D: std::fmt::Display>(dimensions: &[D]) -> String {
    format!("[{}]", dimensions.iter().map(D::to_string).collect::<Vec<_>>().join(", "))
}

/// A graph's interface and its census, told without running it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Inputs, in the graph's order; initialised ones are constants and not among them.
    pub inputs: Vec<InputDescription>,
    /// Outputs, in the graph's order.
    pub outputs: Vec<TensorDescription>,
    /// Operators by descending count, then name.
    pub operators: Vec<OperatorCount>,
    /// Nodes that quantise, dequantise or compute on quantised integers.
    pub quantised_operators: u32,
    /// Elements of all constant tensors.
    pub parameters: u64,
    /// These by element type, by descending count.
    pub weights: Vec<WeightCount>,
    /// Operator set of the default domain; 0 where no operator is of it.
    pub opset: i64,
    /// Who wrote the file, name and version.
    pub producer: String,
}

impl Description {
    /// The inputs in the wire's form: null for every dynamic axis.
    pub fn wire_inputs(&self) -> Vec<TensorDescription> {
        self.inputs
            .iter()
            .map(|i| TensorDescription {
                name: i.name.clone(),
                ty: i.ty,
                dimensions: i.dimensions.iter().map(Dimension::fixed).collect(),
                symbols: i.dimensions.iter().map(Dimension::symbol).collect(),
            })
            .collect()
    }

    /// Whether every input has one shape only.
    pub fn is_static(&self) -> bool {
        self.inputs.iter().flat_map(|i| &i.dimensions).all(|d| d.fixed().is_some())
    }
}
