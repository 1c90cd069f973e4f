//! Nested JSON lists as an array: `[[1, 2], [3, 4]]`, `0.5`, `[true, false]`.

use serde_json::Value;

use super::array::Array;
use crate::elements::Number;

/// Lists nested deeper than any tensor's rank are refused before they are walked.
const MAX_RANK: usize = 16;

/// Reads a JSON text.
pub fn parse(text: &str) -> Result<Array, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let mut shape = Vec::new();
    let mut first = &value;
    while let Value::Array(items) = first {
        shape.push(items.len() as u64);
        if shape.len() > MAX_RANK {
            return Err(format!("lists are nested deeper than {MAX_RANK}"));
        }
        match items.first() {
            Some(item) => first = item,
            None => break,
        }
    }
    let mut values = Vec::new();
    collect(&value, &shape, &mut values)?;
    Ok(Array { shape, ty: None, values })
}

fn collect(value: &Value, shape: &[u64], values: &mut Vec<Number>) -> Result<(), String> {
    match (value, shape) {
        (Value::Array(items), [length, rest @ ..]) => {
            if items.len() as u64 != *length {
                return Err(format!("the lists are ragged: one has {} items, another {length}", items.len()));
            }
            items.iter().try_for_each(|item| collect(item, rest, values))
        }
        (Value::Number(number), []) => {
            values.push(match number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)) {
                Some(integer) => Number::Int(integer),
                None => Number::Float(number.as_f64().ok_or_else(|| format!("{number} is out of range"))?),
            });
            Ok(())
        }
        (Value::Bool(truth), []) => {
            values.push(Number::Int(i128::from(*truth)));
            Ok(())
        }
        (Value::Array(_), []) => Err("the lists are nested unevenly".to_owned()),
        (other, _) => Err(format!("numbers or lists of numbers are wanted, and {} came", kind(other))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a single number among lists",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lists_have_a_shape() {
        let array = parse("[[1, 2.5, -3], [4, 18446744073709551615, true]]").unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.values[1], Number::Float(2.5));
        assert_eq!(array.values[4], Number::Int(i128::from(u64::MAX)));
        assert_eq!(array.values[5], Number::Int(1));
        assert_eq!(parse("7").unwrap().shape, [0u64; 0]);
        assert_eq!(parse("[]").unwrap().shape, [0]);
    }

    #[test]
    fn what_is_no_tensor_is_refused() {
        for (text, why) in [
            ("[[1, 2], [3]]", "ragged"),
            ("[[1], 2]", "single number"),
            ("[1, [2]]", "unevenly"),
            ("[\"a\"]", "a text"),
            ("{\"x\": 1}", "an object"),
            ("[1,", "not JSON"),
            (&"[".repeat(17).replace('[', "[ "), "not JSON"),
            (&format!("{}1{}", "[".repeat(20), "]".repeat(20)), "deeper"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
