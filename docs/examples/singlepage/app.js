// A single-page app whose users log in at Gatehouse. It keeps tokens in memory alone, where no other
// page and no later visit finds them.
const gatehouse = 'http://localhost:8000', client = 'page', home = location.origin + '/';
let tokens; // what /token has answered last

const base64url = bytes => btoa(String.fromCharCode(...new Uint8Array(bytes)))
  .replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const show = text => { document.getElementById('hello').textContent = text; };
const go = (path, query) => location.assign(gatehouse + path + '?' + new URLSearchParams(query));

async function login() {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  sessionStorage.setItem('verifier', verifier); // ties the code to this tab
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  go('/authorize', {
    response_type: 'code', client_id: client, redirect_uri: home, scope: 'openid profile',
    code_challenge: base64url(digest), code_challenge_method: 'S256',
  });
}

async function getTokens(form) {
  const answer = await fetch(gatehouse + '/token', {
    method: 'POST', body: new URLSearchParams({client_id: client, ...form}),
  });
  tokens = answer.ok ? await answer.json() : undefined;
  if (tokens) tokens.good = Date.now() + tokens.expires_in * 1000 - 60_000;
}

// accessToken is good for another minute. A user who is banned or logged out has none.
async function accessToken() {
  if (tokens && Date.now() > tokens.good) {
    await getTokens({grant_type: 'refresh_token', refresh_token: tokens.refresh_token});
  }
  return tokens?.access_token;
}

async function ask() {
  const token = await accessToken();
  const answer = token && await fetch(gatehouse + '/userinfo', {
    headers: {Authorization: `Bearer ${token}`},
  });
  show(answer?.ok ? `Hello, ${(await answer.json()).name}.` : 'Nobody is logged in.');
}

function logout() {
  go('/end-session', {id_token_hint: tokens?.id_token ?? '', post_logout_redirect_uri: home});
}

document.getElementById('login').onclick = login;
document.getElementById('ask').onclick = ask;
document.getElementById('logout').onclick = logout;

const query = new URLSearchParams(location.search);
if (query.has('code')) history.replaceState(null, '', home); // it is good once, and not for the history
if (query.has('code') && query.get('iss') === gatehouse) { // not of another issuer (RFC 9207)
  await getTokens({
    grant_type: 'authorization_code', code: query.get('code'), redirect_uri: home,
    code_verifier: sessionStorage.getItem('verifier'),
  });
  await ask();
}
