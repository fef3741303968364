use arroyo_udf_plugin::udf;

#[udf(orderd, timeout = "soon")]
async fn options(text: &str) -> String {
    text.to_string()
}
