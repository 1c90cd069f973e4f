//! Fenced blocks of a Markdown document, so that what stands there is what is compiled and run.

/// The text of the one block of `language` (perhaps none, `""`) between the heading of this text and the next heading.
///
/// # Errors
///
/// What is missing, or that there are several.
pub fn fence<'a>(document: &'a str, heading: &str, language: &str) -> Result<&'a str, String> {
    let (mut here, mut found) = (None, Vec::new());
    let mut open: Option<(&str, usize)> = None;
    let mut at = 0;
    for line in document.split_inclusive('\n') {
        match (line.strip_prefix("```"), open) {
            (Some(opened), None) => open = Some((opened.trim(), at + line.len())),
            (Some(_), Some((of, start))) => {
                if here == Some(true) && of == language {
                    found.push(&document[start..at]);
                }
                open = None;
            }
            (None, None) if line.starts_with('#') => {
                let this = line.trim_start_matches('#').trim() == heading;
                here = if this { Some(true) } else { here.map(|_| false) };
            }
            _ => {}
        }
        at += line.len();
    }
    match (here, found.as_slice()) {
        (None, _) => Err(format!("there is no heading `{heading}`")),
        (_, [block]) => Ok(block),
        (_, blocks) => Err(format!("`{heading}` has {} blocks of `{language}`, not one", blocks.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::fence;

    const DOCUMENT: &str = "# A\n```\nnone\n```\n## B\n```sh\n# no heading\nsh 1\n```\ntext\n```rust\nfn\n```\n# C\n```sh\nsh 2\n```\n";

    #[test]
    fn a_block_is_found_by_heading_and_language() {
        assert_eq!(fence(DOCUMENT, "A", ""), Ok("none\n"));
        assert_eq!(fence(DOCUMENT, "B", "sh"), Ok("# no heading\nsh 1\n"));
        assert_eq!(fence(DOCUMENT, "B", "rust"), Ok("fn\n"));
        assert_eq!(fence(DOCUMENT, "C", "sh"), Ok("sh 2\n"));
    }

    #[test]
    fn what_is_missing_is_said() {
        assert!(fence(DOCUMENT, "D", "sh").unwrap_err().contains("no heading"));
        assert!(fence(DOCUMENT, "C", "rust").unwrap_err().contains("0 blocks"));
        assert!(fence("# A\n```\n1\n```\n```\n2\n```\n", "A", "").unwrap_err().contains("2 blocks"));
    }
}
