// A single-page app that logs a user in. The query of its address names the service. It tries one
// step after another, and shows for each what it could read of the answer.
'use strict';

const service = new URLSearchParams(location.search).get('service');

// send sends a request. A form makes it a POST.
async function send(path, {form, token, ...options} = {}) {
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  const body = form && new URLSearchParams(form);
  const response = await fetch(service + path, {
    method: body ? 'POST' : 'GET', body, headers, ...options,
  });
  const text = await response.text();
  return {response, json: text && JSON.parse(text)};
}

// steps are tried in this order. Each gets what the ones before it have kept.
const steps = {
  async metadata() {
    const {response, json} = await send('/.well-known/oauth-authorization-server');
    return `${response.status} ${json.token_endpoint.endsWith('/token')}`;
  },

  async 'metadata again'() {
    const {response} = await send('/.well-known/oauth-authorization-server', {
      headers: {'If-None-Match': '"another"'},
    });
    return `${response.status} ${response.headers.has('ETag')}`;
  },

  async 'wrong password'() {
    const {response, json} = await send('/token', {form: {username: 'alice', password: 'wrong'}});
    return `${response.status} ${json.error} ${response.headers.get('WWW-Authenticate')}`;
  },

  async login(kept) {
    const {response, json} = await send('/token', {
      form: {grant_type: 'password', username: 'alice', password: 'correct horse battery staple'},
    });
    kept.tokens = json;
    return `${response.status} ${response.headers.has('Gatehouse-Device')}`;
  },

  async 'login with cookies'() {
    const {response} = await send('/token', {
      form: {username: 'alice', password: 'correct horse battery staple'}, credentials: 'include',
    });
    return `${response.status}`;
  },

  async account(kept) {
    const {response, json} = await send('/users/me', {token: kept.tokens?.access_token});
    return `${response.status} ${json.user?.username} ${response.headers.has('X-Request-Id')}`;
  },

  async refresh(kept) {
    const {response, json} = await send('/token', {
      form: {grant_type: 'refresh_token', refresh_token: kept.tokens?.refresh_token ?? 'none'},
    });
    kept.tokens = json;
    return `${response.status}`;
  },

  async sessions(kept) {
    const {response, json} = await send('/users/me/sessions', {token: kept.tokens?.access_token});
    return `${response.status} ${json.sessions?.length}`;
  },

  async revoke(kept) {
    const {response} = await send('/revoke', {form: {token: kept.tokens?.refresh_token ?? 'none'}});
    return `${response.status}`;
  },

  async 'account, logged out'(kept) {
    const {response, json} = await send('/users/me', {token: kept.tokens?.access_token});
    return `${response.status} ${json.detail}`;
  },

  async contract() {
    const {response} = await send('/openapi.json');
    return `${response.status}`;
  },
};

addEventListener('DOMContentLoaded', async () => {
  const kept = {};
  const answers = document.getElementById('answers');
  for (const [name, step] of Object.entries(steps)) {
    let answer;
    try {
      answer = await step(kept);
    } catch (error) {
      answer = error.name; // of fetch, where the browser lets the page read nothing
    }
    answers.textContent += `${name}: ${answer}\n`;
  }
  answers.classList.add('done');
});
