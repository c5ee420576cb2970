"""A page to try what is served: one file, no scripts or fonts from elsewhere.

Laws of this file:
- What it shows it reads from `/openapi.json`, and writes as text, never as HTML.
- A browser runs its script and its style, which the policy names by their digests, and no others.
"""

import hashlib
from base64 import b64encode

PAGE = b"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<title>Penstock: predictions on request</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:CanvasText;background:Canvas}
select,textarea,input,button{font:inherit;width:100%;box-sizing:border-box;margin:.3rem 0 1rem;padding:.4rem}
textarea,pre{font-family:ui-monospace,monospace;font-size:.9rem}textarea{height:14rem}button{width:auto;padding:.4rem 2rem}
pre{background:#8882;padding:1rem;overflow:auto;min-height:3rem}label{font-weight:600}
</style></head><body><main><h1>Predictions on request</h1>
<p>The definition of everything here: <a href="openapi.json">openapi.json</a>.</p>
<noscript><p>The form below needs JavaScript; any HTTP client can ask the same.</p></noscript>
<label for="path">What to ask</label><select id="path"></select>
<label for="more">The rest of the address: entity, options</label>
<input id="more" placeholder="?vector=true, or /features/VIEW/ENTITY">
<label for="token">Token, if one is needed</label><input id="token" type="password" autocomplete="off">
<label for="body">Body</label><textarea id="body" spellcheck="false"></textarea>
<button id="go">Ask</button> <span id="took" role="status"></span>
<pre id="answer" role="region" tabindex="0" aria-label="Answer"></pre></main>
<script>
const $ = id => document.getElementById(id); let doc;
const sample = schema => { const found = {};
  for (const [name, one] of Object.entries(schema.properties || {})) {
    const kinds = JSON.stringify(one); found[name] = /"string"/.test(kinds) && !/"number"/.test(kinds) ? "" : 0; }
  return found; };
const chosen = () => { const [verb, path] = $("path").value.split(" "); return [verb, path]; };
const show = () => { const [verb, path] = chosen(); const asks = doc.paths[path][verb.toLowerCase()];
  $("body").disabled = verb === "GET"; $("more").value = "";
  const name = path.replace("/v1/pipelines/", "").split(":")[0];
  const event = doc.components.schemas[name + ".event"];
  $("body").value = verb === "POST" && event ? JSON.stringify(sample(event), null, 2) : ""; };
fetch("openapi.json").then(r => r.json()).then(found => { doc = found;
  for (const [path, verbs] of Object.entries(doc.paths)) for (const verb of Object.keys(verbs)) {
    const one = document.createElement("option"); one.value = verb.toUpperCase() + " " + path;
    one.textContent = one.value + " - " + verbs[verb].summary; $("path").append(one); }
  const first = [...$("path").options].find(one => one.value.endsWith(":predict")); if (first) first.selected = true;
  show(); });
$("path").onchange = show;
$("go").onclick = async () => { const [verb, path] = chosen(), headers = {"content-type": "application/json"};
  if ($("token").value) headers.authorization = "Bearer " + $("token").value;
  const address = path.replace(/\\/\\{view\\}.*/, "").replace(/\\/features$/, "").replace("{version}", "champion")
    + $("more").value;
  const reply = await fetch(address, {method: verb, headers, body: verb === "POST" ? $("body").value : undefined});
  const text = await reply.text(); let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* as it is */ }
  $("took").textContent = reply.status;
  $("answer").textContent = shown; };
</script></body></html>
"""


def _digest(tag: bytes) -> str:
    inside = PAGE.split(b"<%s>" % tag)[1].split(b"</%s>" % tag)[0]
    return f"'sha256-{b64encode(hashlib.sha256(inside).digest()).decode()}'"


POLICY = (
    f"default-src 'none'; script-src {_digest(b'script')}; style-src {_digest(b'style')}; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
).encode()
