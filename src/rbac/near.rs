//! Is one name of an account a misspelling of another?

/// Shorter names differ by more than chance where they differ by one letter.
const MIN_LETTERS: usize = 4;

/// Whether a name looks like a misspelling of another: in another case, as its plural, or with one letter too many, too
/// few, replaced, or exchanged with the next. Names that are counted or lettered, such as `worker-1` and `worker-2`,
/// are different.
#[must_use]
pub fn is_misspelled(written: &str, name: &str) -> bool {
    if written == name {
        return false;
    }
    if written.eq_ignore_ascii_case(name) {
        return true;
    }
    let (short, long) = if written.len() < name.len() {
        (written, name)
    } else {
        (name, written)
    };
    if long.strip_suffix('s') == Some(short) {
        return true;
    }
    if short.len() < MIN_LETTERS || !short.is_ascii() || !long.is_ascii() {
        return false;
    }
    is_one_edit(short.as_bytes(), long.as_bytes())
}

/// Whether one letter differs; the shorter name comes first.
fn is_one_edit(short: &[u8], long: &[u8]) -> bool {
    let same = short
        .iter()
        .zip(long)
        .take_while(|(one, other)| one == other);
    let first = same.count();
    let (short, long_rest) = (&short[first..], &long[first..]);
    match long_rest.len() - short.len() {
        0 => {
            let is_replaced = short[1..] == long_rest[1..];
            let is_exchanged = short.len() > 1
                && short[..2] == [long_rest[1], long_rest[0]]
                && short[2..] == long_rest[2..];
            let is_number = |letters: &[u8]| letters.iter().any(u8::is_ascii_digit);
            (is_replaced && is_in_word(long, first) && !is_number(&[short[0], long_rest[0]]))
                || (is_exchanged && !is_number(&short[..2]))
        }
        1 => *short == long_rest[1..] && !long_rest[0].is_ascii_digit() && is_in_word(long, first),
        _ => false,
    }
}

/// Whether a letter has others beside it: one alone letters a series.
fn is_in_word(name: &[u8], place: usize) -> bool {
    let is_word = |place: Option<usize>| {
        let byte = place.and_then(|place| name.get(place));
        byte.is_some_and(u8::is_ascii_alphanumeric)
    };
    !name[place].is_ascii_alphabetic() || is_word(place.checked_sub(1)) || is_word(Some(place + 1))
}

#[cfg(test)]
mod tests {
    use super::is_misspelled;

    #[test]
    fn one_letter_is_a_misspelling_and_a_number_is_not() {
        for (written, name, expected) in [
            ("reporters", "reporter", true),
            ("reporter", "reporters", true),
            ("repoter", "reporter", true),
            ("reporrter", "reporter", true),
            ("reportre", "reporter", true),
            ("reborter", "reporter", true),
            ("Reporter", "reporter", true),
            ("image_puller", "image-puller", true),
            ("imagepuller", "image-puller", true),
            ("apps", "app", true),
            ("api", "app", false),
            ("reporter", "reporter", false),
            ("report", "reporter", false),
            ("worker-1", "worker-2", false),
            ("worker-1", "worker-12", false),
            ("worker1", "worker", false),
            ("worker-a", "worker-b", false),
            ("a-worker", "b-worker", false),
            ("prüfer", "prufer", false),
        ] {
            assert_eq!(is_misspelled(written, name), expected, "{written} {name}");
        }
    }
}
