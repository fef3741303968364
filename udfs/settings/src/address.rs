//! The URL in `BATON_LLM_BASE_URL`: parsed, and shown without its secrets.

use url::Url;

/// A URL without user, password, query and fragment, for messages.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

pub(crate) fn parse_url(value: &str) -> Result<Url, String> {
    // The value may contain a password, so only the parts known to be safe are shown.
    let wrong = |why: &str| format!("BATON_LLM_BASE_URL {why}: set it like https://api.openai.com/v1");
    let url = Url::parse(value).map_err(|error| wrong(&format!("is not a URL ({error})")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(wrong(&format!("is `{}`, which is neither http nor https", shown(&url)))),
    }
}
