fn none(text: &str) -> String {
    text.to_string()
}
