use arroyo_udf_plugin::udf;

#[udf]
fn first(text: &str) -> String {
    text.to_string()
}

#[udf]
fn second(text: &str) -> String {
    text.to_string()
}
