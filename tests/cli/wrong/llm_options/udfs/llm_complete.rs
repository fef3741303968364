use arroyo_udf_plugin::udf;

#[udf]
async fn llm_complete(prompt: &str, input: &str, fallback: &str, options: &str) -> String {
    format!("{prompt} {input} {fallback} {options}")
}
