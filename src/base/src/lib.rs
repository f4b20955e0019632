//! What every server of icebox needs of the operating system, and error chains.

pub mod connections;
pub mod opaque;
pub mod private_file;

/// Returns an error and its causes on one line, outermost first. A cause whose text is already
/// quoted is not repeated.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
