//! A document as its reader follows it: files are saved and commands are run, in order.

/// A step of a document.
#[derive(Debug)]
pub enum Step<'a> {
    /// A file is saved.
    Save { file: &'a str, text: &'a str },
    /// A command must go well; what is printed is in the block that follows, where there is one.
    Run { commands: &'a str, printed: Option<&'a str> },
    /// Commands for a cluster.
    Cluster(&'a str),
}

/// The steps of a Markdown text.
pub fn steps(text: &str) -> Vec<Step<'_>> {
    let mut steps = vec![];
    // Fences take turns: prose, block, prose.
    let mut parts = text.split("```");
    let mut prose = parts.next().unwrap_or_default();
    while let (Some(block), Some(next)) = (parts.next(), parts.next()) {
        let (language, body) = block.split_once('\n').unwrap_or((block, ""));
        match language {
            "yaml" => {
                if let Some((_, rest)) = prose.rsplit_once("Save this as `") {
                    steps.push(Step::Save { file: rest.split('`').next().unwrap_or_default(), text: body });
                }
            }
            "sh" => steps.push(Step::Run { commands: body, printed: None }),
            "text" => {
                if let Some(Step::Run { printed, .. }) = steps.last_mut() {
                    *printed = Some(body);
                }
            }
            "console" => steps.push(Step::Cluster(body)),
            _ => {}
        }
        prose = next;
    }
    steps
}
