// The only script of all pages: it asks the browser for passkeys (WebAuthn Level 3). Without it,
// all else works. A form says by data-passkey what it is for, and by data-options where the options
// come from. The script shows the form, and fills its field "passkey" in.

const known = "PublicKeyCredential" in window && "credentials" in navigator

// Browsers have these two since 2025, and some password managers break them.
const bytes = text =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), c => c.charCodeAt(0))

const base64url = buffer =>
  btoa(String.fromCharCode(...new Uint8Array(buffer)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")

function decoded(options) {
  const own = { ...options, challenge: bytes(options.challenge) }
  if (options.user) own.user = { ...options.user, id: bytes(options.user.id) }
  for (const list of ["allowCredentials", "excludeCredentials"]) {
    if (options[list]) own[list] = options[list].map(c => ({ ...c, id: bytes(c.id) }))
  }
  return own
}

function encoded(credential) {
  const given = credential.response, response = {}
  for (const part of [
    "clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle",
  ]) {
    if (given[part]) response[part] = base64url(given[part])
  }
  if (given.getTransports) response.transports = given.getTransports()
  return JSON.stringify({
    id: credential.id, rawId: base64url(credential.rawId), type: credential.type, response,
    authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
    clientExtensionResults: {},
  })
}

// ask returns the answer of the browser to fresh options: a challenge is good for two minutes.
async function ask(form, how) {
  const answer = await fetch(form.dataset.options, { signal: how.signal, redirect: "error" })
    .catch(e => { throw how.signal?.aborted ? e : new Error("late") })
  if (!answer.ok) throw new Error("late")
  const publicKey = decoded(await answer.json())
  const does = form.dataset.passkey === "get" ? "get" : "create"
  return encoded(await navigator.credentials[does]({ ...how, publicKey }))
}

// send takes along what is ticked elsewhere on the page, such as to stay logged in.
function send(form, answer) {
  form.elements.passkey.value = answer
  for (const box of document.querySelectorAll("input[type=checkbox][name]:checked")) {
    if (box.form === form) continue
    const copy = document.createElement("input")
    copy.type = "hidden"
    copy.name = box.name
    copy.value = box.value
    form.append(copy)
  }
  form.submit()
}

// say puts a sentence above a form. What is said before is taken away.
function say(form, why) {
  unsay(form)
  const said = document.createElement("p")
  said.className = "message bad"
  said.setAttribute("role", "alert")
  said.textContent = form.dataset[why]
  form.before(said)
}

function unsay(form) {
  if (form.previousElementSibling?.matches("p.message[role=alert]")) form.previousElementSibling.remove()
}

const reason = e =>
  ({ NotAllowedError: "cancelled", AbortError: "cancelled", InvalidStateError: "known" })[e.name] ??
  (e.message === "late" ? "late" : "failed")

// A browser does one of these at a time. A button ends the one that waits at the field.
let waiting = new AbortController()

// autofill has the browser offer passkeys at the field for the name, with options that are never
// too old. A page that nobody sees asks for none.
async function autofill(form) {
  if (!await PublicKeyCredential.isConditionalMediationAvailable?.()) return
  const own = waiting = new AbortController()
  while (waiting === own) {
    const attempt = new AbortController()
    const end = () => attempt.abort()
    own.signal.addEventListener("abort", end, { once: true })
    const late = setTimeout(end, 100_000)
    try {
      return send(form, await ask(form, { mediation: "conditional", signal: attempt.signal }))
    } catch {
      if (own.signal.aborted || !attempt.signal.aborted) return
    } finally {
      clearTimeout(late)
    }
    while (document.hidden) {
      await new Promise(seen => document.addEventListener("visibilitychange", seen, { once: true }))
    }
  }
}

// offer has the browser make a passkey of its own accord, right after a login with the password. It
// says nothing: whoever has logged in wants to do something else.
async function offer(form) {
  const can = await PublicKeyCredential.getClientCapabilities?.()
  if (!can?.conditionalCreate) return
  form.elements.passkey.value = await ask(form, { mediation: "conditional" })
  const body = new URLSearchParams(new FormData(form))
  await fetch(form.action, { method: "POST", body, redirect: "manual" })
}

async function pressed(form, event) {
  event.preventDefault()
  waiting.abort()
  unsay(form)
  const button = form.querySelector("button")
  button.disabled = true
  try {
    send(form, await ask(form, {}))
  } catch (e) {
    say(form, reason(e))
    if ("autofill" in form.dataset) autofill(form)
  } finally {
    button.disabled = false
  }
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (form.dataset.passkey === "offer") {
    if (known) offer(form).catch(() => {})
  } else if (known) {
    form.hidden = false
    form.addEventListener("submit", event => pressed(form, event))
    if ("autofill" in form.dataset) autofill(form)
  } else if (!("autofill" in form.dataset)) {
    say(form, "missing")
  }
}
