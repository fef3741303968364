use arroyo_udf_plugin::udf;

#[udf]
async fn llm_classify(text: Option<&str>, agents: Option<&str>, options: Option<&str>) -> String {
    format!("{text:?} {agents:?} {options:?}")
}
