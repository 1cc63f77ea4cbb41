//! The document of a page: one template, every text escaped.

use askama::Template;

use super::{Action, Fact, Page, STYLESHEET_HREF};

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>{{ page.title }}</title>
<link rel="stylesheet" href="{{ stylesheet }}">
</head>
<body>
<main>
<h1>{{ page.title }}</h1>
{%- for paragraph in page.text %}
<p>{{ paragraph }}</p>
{%- endfor %}
{%- if !page.facts.is_empty() %}
<dl>
{%- for Fact { label, value, time } in page.facts %}
<div><dt>{{ label }}</dt><dd>{% if let Some(time) = time %}<time datetime="{{ time }}">{{ value }}</time>{% else %}{{ value }}{% endif %}</dd></div>
{%- endfor %}
</dl>
{%- endif %}
{%- if !page.actions.is_empty() %}
<div class="actions">
{%- for action in page.actions %}
{%- match action %}
{%- when Action::Link { label, href } %}
<a href="{{ href }}">{{ label }}</a>
{%- when Action::Button { label, to } %}
<form method="post" action="{{ to }}"><button type="submit">{{ label }}</button></form>
{%- endmatch %}
{%- endfor %}
</div>
{%- endif %}
<footer>Request number <code>{{ page.id }}</code></footer>
</main>
</body>
</html>
"#
)]
struct Document<'a> {
    page: &'a Page,
    stylesheet: &'a str,
}

/// The document of a page.
pub fn render(page: &Page) -> String {
    let document = Document { page, stylesheet: STYLESHEET_HREF.as_str() };
    document.render().expect("writing into a string does not fail")
}
