use arroyo_udf_plugin::udf;

#[udf]
async fn ask(text: &str) -> String {
    text.to_string()
}
